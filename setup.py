"""Package metadata. Ranges stand here; the exact versions of a cited run stand in requirements/."""

from setuptools import find_namespace_packages, setup

BASE = [
  "jax>=0.10",
  "flax>=0.12",
  "optax>=0.2.8",
  "orbax-checkpoint>=0.12",
  "tensorflow-datasets>=4.9.8",
  "array_record>=0.8; platform_system != 'Windows'",
  "ml-collections>=1.1",
  "jaxtyping>=0.3",
  "numpy>=2.0",
  "tensorboardX>=2.6.2",
  "matplotlib>=3.9",
]

# Pretrained models and verifiers of text: wheels on every platform.
TEXT = [
  "math-verify>=0.8",
  "gguf>=0.17",
  "tokenizers>=0.21",
  "safetensors>=0.5",
  "jinja2>=3.1",
  "bm25s>=0.2.10",
]

EXTRAS = {
  "tpu": ["jax[tpu]>=0.10"],
  "cuda": ["jax[cuda13]>=0.10"],
  # Some packages that reasoning-gym needs have no wheel and want a C compiler.
  "tasks": [*TEXT, "reasoning-gym>=0.1.20"],
  "datasets": ["datasets>=3"],
  # Trackers of runs (logging.trackers), one each.
  "wandb": ["wandb>=0.20"],
  "mlflow": ["mlflow>=2.20"],
  "trackio": ["trackio>=0.20"],
  "notebooks": ["jupyterlab>=4.3", "ipykernel>=6.29", "nbclient>=0.10", "nbconvert>=7.16"],
  "docs": ["sphinx>=8.2", "furo>=2025.7", "myst-parser>=4", "nbconvert>=7.16"],
  # No accelerator runtime here: libtpu beside a CPU test run grabs devices and prints warnings.
  "dev": [*TEXT, "datasets>=3", "pytest>=8.3", "pytest-xdist>=3.6", "hypothesis>=6.120", "ruff>=0.9", "mypy>=1.14"],
}

setup(
  name="rl-jax",
  version="0.1.0",
  description="Dense-reward and advantage-estimation reinforcement learning on language models, in JAX",
  author="The rl_jax authors",
  license="Apache-2.0",
  license_files=["LICENSE"],
  python_requires=">=3.11",
  packages=find_namespace_packages(include=["rl_jax", "rl_jax.*"]),
  package_data={"": ["*.json", "*.jsonl"]},
  entry_points={"console_scripts": ["rl-jax = rl_jax.__main__:main"]},
  install_requires=BASE,
  extras_require=EXTRAS,
)
