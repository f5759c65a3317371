"""Action distributions with Baselines' interface: `make_pdtype(space)` returns a `PdType`, `pdtype.pdfromflat(flat)` a
`Pd`.

A `PdType` knows the shapes of an action space and how to sample from it. A `Pd` holds a batch of parameters,
`flatparam` [..., p]. A sample is a deterministic function of parameters and of noise that is drawn in advance. It is
written once over a set of operators (`NumpyOperators`, `TensorFlowOperators`), so that acting in NumPy and the compiled
update share it.

Categorical and Bernoulli distributions come from tensorflow_probability. The Gaussian is implemented here, because
`tfd.Normal` standardises as x/s - m/s, which loses all precision at small s (at log std -20, two ulp from the mean:
-1,132.9; SciPy: -1,653.4).

A Dict or Tuple has a product of distributions, `ProductPdType`. `PdType.mask_flat` excludes invalid actions."""

from common.distributions.array_ops import (
    FINITE_MINUS_INFINITY,
    Array,
    NumpyOperators,
    Operation,
    Operators,
    TensorFlowOperators,
)
from common.distributions.base import Pd, PdType
from common.distributions.bernoulli import BernoulliPd, BernoulliPdType
from common.distributions.categorical import (
    CategoricalPd,
    CategoricalPdType,
    IntegerBoxPdType,
    LogitBlock,
    MultiCategoricalPd,
    MultiCategoricalPdType,
    group_logits,
)
from common.distributions.choice import INT32_RANGE, MAX_BOX_CHOICES, MAX_FACTORS, make_pdtype
from common.distributions.gaussian import DiagGaussianPd, DiagGaussianPdType
from common.distributions.product import ProductPd, ProductPdType

__all__ = [
    "FINITE_MINUS_INFINITY",
    "INT32_RANGE",
    "MAX_BOX_CHOICES",
    "MAX_FACTORS",
    "Array",
    "BernoulliPd",
    "BernoulliPdType",
    "CategoricalPd",
    "CategoricalPdType",
    "DiagGaussianPd",
    "DiagGaussianPdType",
    "IntegerBoxPdType",
    "LogitBlock",
    "MultiCategoricalPd",
    "MultiCategoricalPdType",
    "NumpyOperators",
    "Operation",
    "Operators",
    "Pd",
    "PdType",
    "ProductPd",
    "ProductPdType",
    "TensorFlowOperators",
    "group_logits",
    "make_pdtype",
]
