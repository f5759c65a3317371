"""Packaging. Every dependency is here; tools' settings are in pyproject.toml.

The address of the repository is not part of the source. Set BASELINES_PPO_REPOSITORY to it when you build a release, for example
`BASELINES_PPO_REPOSITORY=https://github.com/OWNER/baselines_ppo python -m build`: the package index then shows links to it.
"""

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

REPOSITORY = os.environ.get("BASELINES_PPO_REPOSITORY", "").rstrip("/")
CODE = r"(?ms)^ *```.*?^ *```[^\n]*$|`[^`\n]+`"
IMAGE = r'!\[[^\]]*\]\((?P<md>[^)\s]+)[^)]*\)|<(?:img|source)\b[^>]*?\bsrc(?:set)?="(?P<html>[^"]+)"[^>]*>'
LINK = r'\[(?P<text>(?:!\[[^\]]*\]\([^)]*\)|[^\[\]])*)\]\((?P<md>[^)\s]+)[^)]*\)|<a\b[^>]*?\bhref="(?P<html>[^"]+)"[^>]*>(?P<inner>.*?)</a>'


def long_description(readme, repository):
    """Return a README for a package index, which has none of the files that its relative links name.

    Args:
        readme: Markdown.
        repository: address of the repository, with the paths of GitHub; relative links become links to it. If empty, a relative
            link becomes its text, and a relative image is removed.
    """
    code = []

    def hide(match):
        code.append(match[0])
        return f"\0{len(code) - 1}\0"

    def absolute(match, folder):
        target = match["md"] or match["html"]
        if re.match(r"[a-zA-Z][\w+.-]*:|//", target):
            return match[0]
        if not repository:
            return (match["text"] or match["inner"] or "") if folder == "blob" else ""
        address = repository + ("" if target.startswith("#") else f"/{folder}/HEAD/") + target.removeprefix("./")
        start, end = (position - match.start() for position in match.span("md" if match["md"] else "html"))
        return match[0][:start] + address + match[0][end:]

    text = re.sub(CODE, hide, readme)
    text = re.sub(IMAGE, lambda match: absolute(match, "raw"), text)
    text = re.sub(LINK, lambda match: absolute(match, "blob"), text, flags=re.S)
    return re.sub("\0(\\d+)\0", lambda match: code[int(match[1])], text)


setup(
    name="baselines_ppo",
    version="0.1.0",
    description="An independent TensorFlow 2 implementation of PPO, TRPO, A2C and REINFORCE with the API of OpenAI Baselines' PPO1",
    long_description=long_description(Path(__file__).with_name("README.md").read_text(encoding="utf-8"), REPOSITORY),
    long_description_content_type="text/markdown",
    author="the baselines_ppo developers",
    license_expression="MIT",
    license_files=["LICENSE"],
    keywords=[
        "reinforcement learning",
        "deep reinforcement learning",
        "policy gradient",
        "proximal policy optimization",
        "PPO",
        "TRPO",
        "A2C",
        "REINFORCE",
        "TensorFlow",
        "Gymnasium",
        "MuJoCo",
        "Atari",
        "MPI",
        "OpenAI Baselines",
    ],
    project_urls={
        "Source": REPOSITORY,
        "Documentation": f"{REPOSITORY}/blob/HEAD/docs/README.md",
        "Changelog": f"{REPOSITORY}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{REPOSITORY}/issues",
    }
    if REPOSITORY
    else {},
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
        "packaging>=24.2",  # the doctor compares versions
    ],
    extras_require={
        "test": [
            "hypothesis>=6.130",
            # the notebooks
            "nbformat>=5.10",
            # the tests of the search of settings
            "optuna>=5,<6",
            "sqlalchemy>=2.0",
            "pytest>=8",
            "pytest-timeout>=2.3.1",
            "pytest-xdist>=3.6.1",
            # the metadata of the package
            "setuptools>=77.0.3",
            "threadpoolctl>=3.5",
        ],
        # `.ci/check`; how ruff formats changes between minor versions
        "dev": ["ruff>=0.17,<0.18", "mypy>=2.4,<3", "import-linter>=2.5", "pre-commit>=4", "readme-renderer[md]>=44"],
        # `mkdocs build --strict`
        "docs": ["mkdocs-material>=9.6", "mkdocstrings[python]>=0.30", "latex2mathml>=3.78", "ruff>=0.17,<0.18"],
        "tune": ["optuna>=5,<6", "sqlalchemy>=2.0"],  # the second has the errors of storages
        "box2d": ["gymnasium[box2d]"],
        # tf2onnx 1.16 asks for protobuf 3, and TensorFlow 2.21 for a later one
        "onnx": ["tf2onnx>=1.17", "onnx>=1.19", "onnxruntime>=1.22"],
        "demonstrations": ["minari[arrow,hdf5]>=0.5.3,<0.6"],  # data sets for --demonstrations minari:ID
        # rliable 1.2 does not import with pandas 3; pandas before 2.2.2 was built for NumPy 1
        "benchmarks": ["rliable>=1.2", "pandas>=2.2.2,<3"],
        # the libraries of the throughput comparison; they need a separate environment: SBX asks for tfp-nightly, which overwrites tensorflow-probability
        "peers": ["stable-baselines3>=2.9", "sb3-contrib>=2.9", "sbx-rl>=0.28", "torch>=2.3"],
    },
    entry_points={"console_scripts": ["baselines-ppo = baselines_ppo.__main__:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
