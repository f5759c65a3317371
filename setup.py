"""Packaging. Every dependency is here; tools' settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="baselines_ppo",
    version="0.1.0",
    description="Proximal policy optimisation for TensorFlow 2: the heir of OpenAI Baselines' PPO1",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["baselines_ppo", "baselines_ppo.*", "common", "common.*"]),
    package_data={"baselines_ppo": ["py.typed"], "common": ["py.typed"], "baselines_ppo.report": ["report.html.j2"]},
    python_requires=">=3.11,<3.14",
    install_requires=[  # lower bounds are releases: `python -m benchmarks.robustness.processors --oldest` installs just these, and runs the tests
        "numpy>=2.0",
        "tensorflow>=2.21,<2.22",
        "tensorflow-probability>=0.25,<0.26",
        "tf-keras>=2.21,<2.22",  # tensorflow-probability imports it and does not ask for it
        "gymnasium[mujoco,classic-control]>=1.4,<2",  # the second for pygame, which draws classic control
        "ale-py>=0.12.1",
        "opencv-python-headless>=4.10.0.84",  # Gymnasium's AtariPreprocessing resizes with it; 4.10.0.82 was built for NumPy 1
        "mpi4py>=4.1",
        # brings mpirun; has wheels for these platforms only, elsewhere install an MPI by hand
        'mpich>=5.0; sys_platform == "linux" or sys_platform == "darwin"',
        "safetensors>=0.7",
        "rich>=14",
        "scipy>=1.14",  # intervals and tests of comparisons
        "matplotlib>=3.9",
        "jinja2>=3.1",  # the report's page
        "imageio>=2.34",  # videos
        "shtab>=1.7",  # completion for shells
        "tensorboard>=2.20",  # tf.summary writes for it; TensorFlow 2.21 no longer brings it
    ],
    extras_require={
        "test": [
            "hypothesis>=6.130",
            "packaging>=24",
            "pytest>=8",
            "pytest-timeout>=2.3.1",
            "pytest-xdist>=3.6.1",
            "threadpoolctl>=3.5",
        ],
        # `.ci/check`; how ruff formats changes between minor versions
        "dev": ["ruff>=0.17,<0.18", "mypy>=2.4,<3", "import-linter>=2.5", "pre-commit>=4"],
        "box2d": ["gymnasium[box2d]"],
        # rliable 1.2 does not import with pandas 3; pandas before 2.2.2 was built for NumPy 1
        "benchmarks": ["rliable>=1.2", "pandas>=2.2.2,<3"],
        # the libraries of the throughput comparison; they need a separate environment: SBX asks for tfp-nightly, which overwrites tensorflow-probability
        "peers": ["stable-baselines3>=2.9", "sbx-rl>=0.28", "torch>=2.3"],
    },
    entry_points={"console_scripts": ["baselines-ppo = baselines_ppo.__main__:main"]},
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
