"""Makes the golden values for networks, activations, losses, optimisers and LoRA beside this file.

    python3.11 -m venv /tmp/golden
    /tmp/golden/bin/pip install jax==0.10.2 equinox==0.13.8 optax==0.2.8 quax==0.4.6 safetensors==0.8.0
    JAX_PLATFORMS=cpu /tmp/golden/bin/python tests/golden/make_nn.py

README.md beside this file says what each key of each file holds.
"""

import collections
import functools as ft
import importlib.metadata
import json
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import jax.tree_util as jtu
import numpy as np
import optax
import quax
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
PINNED = {"jax": "0.10.2", "equinox": "0.13.8", "optax": "0.2.8", "quax": "0.4.6"}
for package, version in PINNED.items():
    found = importlib.metadata.version(package)
    assert found == version, f"{package} is {found}, but the values are made with {version}"


class File:
    """The arrays of one file and, for each case, a JSON text that says how it was made."""

    def __init__(self, name):
        self.path = HERE / f"{name}.safetensors"
        self.arrays = {}
        self.cases = {}

    def case(self, case, made_by, **arrays):
        assert case not in self.cases, case
        self.cases[case] = made_by
        for name, array in arrays.items():
            self.put(f"{case}/{name}", array)

    def put(self, key, array):
        assert key not in self.arrays, key
        self.arrays[key] = np.ascontiguousarray(array)

    def tree(self, prefix, tree):
        """Every array leaf of a tree under `prefix` and its path, such as `mlp/param.layers[0].weight`."""
        for path, leaf in jtu.tree_leaves_with_path(eqx.filter(tree, eqx.is_array)):
            self.put(prefix + jtu.keystr(path).replace("._w", ".w"), leaf)

    def save(self):
        arrays = dict(sorted(self.arrays.items()))
        save_file(arrays, self.path, metadata={"made_by": json.dumps(PINNED | self.cases, sort_keys=True)})
        print(f"{self.path.name}: {len(arrays)} arrays, {self.path.stat().st_size} bytes")


def key(seed):
    """The key, and its two words for the file."""
    return jr.key(seed), jr.key_data(jr.key(seed))


def normal(seed, *shape):
    return jr.normal(jr.key(seed), shape)


def sum_of_squares(out):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(out))


def layer(file, case, made_by, model, call, **inputs):
    """Parameters, inputs, output, and the gradients of the output's sum of squares by both."""
    file.case(case, made_by)
    file.tree(f"{case}/param", model)
    for name, value in inputs.items():
        file.put(f"{case}/in/{name}", value)
    out = call(model, **inputs)
    for i, leaf in enumerate(jax.tree.leaves(out)):
        file.put(f"{case}/out" if leaf is out else f"{case}/out/{i}", leaf)

    def loss(diff, rest):
        model, inputs = eqx.combine(diff, rest)
        return sum_of_squares(call(model, **inputs))

    diff, rest = eqx.partition((model, inputs), eqx.is_inexact_array)
    model_grad, input_grad = jax.grad(loss)(diff, rest)
    file.tree(f"{case}/grad", model_grad)
    for name, value in input_grad.items():
        if value is not None:
            file.put(f"{case}/grad_in/{name}", value)


def constructed(file, case, seed, made_by, call, **inputs):
    """A layer whose parameters its constructor drew from `key(seed)`; `made_by` is the Python that makes it."""
    k, words = key(seed)
    model = eval(made_by, {"nn": eqx.nn, "jax": jax, "jnp": jnp, "key": k})
    layer(file, case, f"key = key({seed}); {made_by}", model, call, **inputs)
    file.put(f"{case}/key", words)


def networks():
    file = File("nn")
    one = lambda model, x: model(x)
    each = lambda model, x: jax.vmap(model)(x)

    # Linear and MLP.
    constructed(file, "linear", 1, "nn.Linear(5, 3, key=key)", one, x=normal(101, 5))
    constructed(file, "linear_batch", 2, "nn.Linear(5, 3, key=key)", each, x=normal(102, 4, 5))
    constructed(file, "linear_no_bias", 3, "nn.Linear(4, 6, use_bias=False, key=key)", one, x=normal(103, 4))
    constructed(file, "linear_scalar_in", 4, "nn.Linear('scalar', 3, key=key)", one, x=normal(104))
    constructed(file, "linear_scalar_out", 5, "nn.Linear(3, 'scalar', key=key)", one, x=normal(105, 3))
    constructed(file, "mlp", 6, "nn.MLP(4, 3, 8, 2, key=key)", one, x=normal(106, 4))
    constructed(file, "mlp_batch", 7, "nn.MLP(4, 3, 8, 1, activation=jax.nn.gelu, key=key)", each, x=normal(107, 5, 4))
    constructed(
        file, "mlp_plain", 8,
        "nn.MLP(3, 'scalar', 8, 3, activation=jnp.tanh, final_activation=jax.nn.sigmoid,"
        " use_bias=False, use_final_bias=False, key=key)",
        one, x=normal(108, 3),
    )  # fmt: skip
    constructed(file, "mlp_depth_0", 9, "nn.MLP(3, 2, 8, 0, key=key)", one, x=normal(109, 3))

    # Embedding; a repeated index, whose gradients add up.
    constructed(
        file, "embedding", 10, "nn.Embedding(7, 4, key=key)",
        each, x=jnp.array([3, 0, 6, 3], jnp.int32),
    )  # fmt: skip

    # Normalisation, with parameters other than the ones and zeros of the constructors.
    norm = eqx.nn.LayerNorm(6)
    norm = eqx.tree_at(lambda n: (n.weight, n.bias), norm, (normal(20, 6), normal(21, 6)))
    layer(file, "layer_norm", "nn.LayerNorm(6)", norm, one, x=3 + 2 * normal(120, 6))
    norm = eqx.nn.LayerNorm((2, 3), eps=1e-3)
    norm = eqx.tree_at(lambda n: (n.weight, n.bias), norm, (normal(22, 2, 3), normal(23, 2, 3)))
    layer(file, "layer_norm_2d", "nn.LayerNorm((2, 3), eps=1e-3)", norm, each, x=normal(122, 4, 2, 3))
    norm = eqx.nn.LayerNorm(6, use_weight=False, use_bias=False)
    layer(file, "layer_norm_plain", "nn.LayerNorm(6, use_weight=False, use_bias=False)", norm, one, x=normal(123, 6))
    norm = eqx.nn.RMSNorm(6)
    norm = eqx.tree_at(lambda n: (n.weight, n.bias), norm, (normal(24, 6), normal(25, 6)))
    layer(file, "rms_norm", "nn.RMSNorm(6)", norm, one, x=3 + 2 * normal(124, 6))
    norm = eqx.nn.RMSNorm(6, use_weight=False, use_bias=False)
    layer(file, "rms_norm_plain", "nn.RMSNorm(6, use_weight=False, use_bias=False)", norm, each, x=normal(125, 3, 6))

    # Convolutions.
    x1, x2 = normal(130, 4, 11), normal(131, 4, 8, 7)
    for i, (case, made_by) in enumerate({
        "conv1d": "nn.Conv1d(4, 3, 3, key=key)",
        "conv1d_strided": "nn.Conv1d(4, 2, 3, stride=2, padding=2, dilation=2, use_bias=False, key=key)",
        "conv1d_groups": "nn.Conv1d(4, 6, 2, padding=((1, 0),), groups=2, key=key)",
        "conv1d_same": "nn.Conv1d(4, 2, 4, padding='SAME', key=key)",
        "conv1d_circular": "nn.Conv1d(4, 2, 3, padding=1, padding_mode='CIRCULAR', key=key)",
        "conv2d": "nn.Conv2d(4, 3, 3, key=key)",
        "conv2d_mixed": "nn.Conv2d(4, 2, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), key=key)",
        "conv2d_depthwise": "nn.Conv2d(4, 4, 3, padding=1, groups=4, key=key)",
        "conv2d_groups": "nn.Conv2d(4, 6, 3, stride=2, padding=((0, 1), (1, 0)), groups=2, use_bias=False, key=key)",
        "conv2d_same": "nn.Conv2d(4, 2, (2, 3), stride=2, padding='SAME', key=key)",
        "conv2d_reflect": "nn.Conv2d(4, 2, 3, padding=1, padding_mode='REFLECT', key=key)",
        "conv2d_replicate": "nn.Conv2d(4, 2, 3, padding=1, padding_mode='REPLICATE', key=key)",
    }.items()):  # fmt: skip
        constructed(file, case, 30 + i, made_by, one, x=x1 if "1d" in case else x2)

    # Attention: without positions; across lengths, sizes and biases; causal, with rotary embeddings.
    constructed(
        file, "attention", 50, "nn.MultiheadAttention(2, 8, key=key)",
        lambda model, x: model(x, x, x), x=normal(150, 5, 8),
    )  # fmt: skip
    constructed(
        file, "attention_cross", 51,
        "nn.MultiheadAttention(3, 6, key_size=5, value_size=4, output_size=7, qk_size=2, vo_size=3,"
        " use_query_bias=True, use_key_bias=True, use_value_bias=True, use_output_bias=True, key=key)",
        lambda model, query, key, value: model(query, key, value),
        query=normal(151, 4, 6), key=normal(152, 5, 5), value=normal(153, 5, 4),
    )  # fmt: skip
    rope = eqx.nn.RotaryPositionalEmbedding(4)

    def causal(model, x):
        def process_heads(q, k, v):
            rotate = jax.vmap(rope, in_axes=1, out_axes=1)
            return rotate(q), rotate(k), v

        mask = jnp.tril(jnp.ones((len(x), len(x)), bool))
        return model(x, x, x, mask=mask, process_heads=process_heads)

    constructed(file, "attention_causal", 52, "nn.MultiheadAttention(2, 8, key=key)", causal, x=normal(154, 6, 8))
    layer(file, "rotary", "nn.RotaryPositionalEmbedding(4)", rope, one, x=normal(155, 7, 4))

    # Recurrent cells.
    constructed(
        file, "gru_cell", 60, "nn.GRUCell(3, 4, key=key)",
        lambda model, x, h: model(x, h), x=normal(160, 3), h=normal(161, 4),
    )  # fmt: skip
    constructed(
        file, "lstm_cell", 61, "nn.LSTMCell(3, 4, key=key)",
        lambda model, x, h, c: model(x, (h, c)), x=normal(162, 3), h=normal(163, 4), c=normal(164, 4),
    )  # fmt: skip

    # Dropout: here the key is the call's.
    k, words = key(62)
    layer(file, "dropout", "nn.Dropout(0.4), called with key(62)", eqx.nn.Dropout(0.4),
          lambda model, x: model(x, key=k), x=normal(165, 4, 5))  # fmt: skip
    file.put("dropout/key", words)
    file.save()


ACTIVATIONS = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "leaky_relu": jax.nn.leaky_relu,
    "gelu_exact": ft.partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": ft.partial(jax.nn.gelu, approximate=True),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "log_sigmoid": jax.nn.log_sigmoid,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "celu": ft.partial(jax.nn.celu, alpha=0.7),
    "tanh": jnp.tanh,
    "hard_tanh": jax.nn.hard_tanh,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_silu": jax.nn.hard_silu,
    "mish": jax.nn.mish,
    "soft_sign": jax.nn.soft_sign,
    "squareplus": jax.nn.squareplus,
    "sparse_plus": jax.nn.sparse_plus,
    "sparse_sigmoid": jax.nn.sparse_sigmoid,
}
REDUCTIONS = {
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "logsumexp": ft.partial(jax.nn.logsumexp, axis=-1),
    "standardize": jax.nn.standardize,
    "glu": jax.nn.glu,
}


def activations():
    file = File("activations")
    for dtype in (jnp.float32, jnp.float64):
        with jax.enable_x64(dtype == jnp.float64):
            suffix = {jnp.float32: "f32", jnp.float64: "f64"}[dtype]
            ends = [-100.0, -30.0, -12.0, 12.0, 30.0, 100.0]
            # Steps of a quarter: kinks at whole numbers are met exactly.
            grid = jnp.concatenate([jnp.arange(-24, 25) / 4, jnp.array(ends)]).astype(dtype)
            file.put(f"x/{suffix}", grid)
            for name, function in ACTIVATIONS.items():
                out, tangent = jax.jvp(function, (grid,), (jnp.ones_like(grid),))
                assert out.dtype == tangent.dtype == dtype, name
                file.put(f"{name}/{suffix}/out", out)
                file.put(f"{name}/{suffix}/derivative", tangent)
            # The third row is far from the origin, where a softmax that does not shift overflows.
            rows = np.random.default_rng(0).standard_normal((3, 6)) + np.array([[0.0], [1.0], [1000.0]])
            rows = jnp.asarray(rows, dtype)
            file.put(f"rows/{suffix}", rows)
            for name, function in REDUCTIONS.items():
                out, pull = jax.vjp(function, rows)
                (cotangent,) = pull(jnp.cos(jnp.arange(out.size, dtype=dtype)).reshape(out.shape))
                assert out.dtype == cotangent.dtype == dtype, name
                file.put(f"{name}/{suffix}/out", out)
                file.put(f"{name}/{suffix}/vjp", cotangent)
    file.case("celu", "alpha = 0.7; the others have their defaults")
    file.save()


def losses():
    file = File("losses")

    def case(name, made_by, function, **inputs):
        out, pull = jax.vjp(lambda x: function(**(inputs | x)), {k: v for k, v in inputs.items() if eqx.is_inexact_array(v)})
        (gradients,) = pull(jnp.ones_like(out))
        file.case(name, made_by, out=out, **{f"in/{k}": v for k, v in inputs.items()})
        for k, v in gradients.items():
            file.put(f"{name}/grad/{k}", v)

    logits = 3 * normal(200, 4, 5)
    labels = jnp.array([0, 4, 2, 2], jnp.int32)
    smooth = jax.nn.softmax(normal(201, 4, 5))
    wide = jnp.concatenate([3 * normal(202, 6), jnp.array([-80.0, 80.0])])
    targets = jnp.array([0.0, 1.0, 1.0, 0.0, 0.3, 0.5, 1.0, 1.0])
    a, b = 2 * normal(203, 8), 2 * normal(204, 8)
    case("softmax_cross_entropy_with_integer_labels", "optax", optax.softmax_cross_entropy_with_integer_labels, logits=logits, labels=labels)
    case("softmax_cross_entropy", "optax", optax.softmax_cross_entropy, logits=logits, labels=smooth)
    case("sigmoid_binary_cross_entropy", "optax", optax.sigmoid_binary_cross_entropy, logits=wide, labels=targets)
    case("huber_loss", "optax", optax.huber_loss, predictions=a, targets=b)
    case("huber_loss_half", "optax, delta=0.5", ft.partial(optax.huber_loss, delta=0.5), predictions=a, targets=b)
    case("l2_loss", "optax: half the square", optax.l2_loss, predictions=a, targets=b)
    case("squared_error", "optax", optax.squared_error, predictions=a, targets=b)
    case("log_cosh", "optax", optax.log_cosh, predictions=a, targets=b)
    case("hinge_loss", "optax", optax.hinge_loss, predictor_outputs=a, targets=jnp.sign(b))
    case("kl_divergence", "optax", optax.kl_divergence, log_predictions=jax.nn.log_softmax(logits), targets=smooth)
    case("cosine_distance", "optax", optax.cosine_distance, predictions=a.reshape(2, 4), targets=b.reshape(2, 4))
    case("smooth_labels", "optax, alpha=0.1", ft.partial(optax.smooth_labels, alpha=0.1), labels=jax.nn.one_hot(labels, 5))
    file.save()


STEPS = 20
Params = collections.namedtuple("Params", "b w")


def optimisers():
    file = File("optim")
    params = Params(b=normal(300, 2), w=normal(301, 3, 2))
    # From small to large, so that clipping acts on some steps and not on others.
    size = jnp.geomspace(0.05, 5.0, STEPS)
    grads = Params(
        b=normal(302, STEPS, 2) * size[:, None],
        w=normal(303, STEPS, 3, 2) * size[:, None, None],
    )
    file.tree("start", params)
    file.tree("grads", grads)
    schedules = {
        "constant": "optax.constant_schedule(0.1)",
        "linear": "optax.linear_schedule(0.1, 0.01, 10, 5)",
        "polynomial": "optax.polynomial_schedule(0.1, 0.01, 2, 10, 5)",
        "cosine": "optax.cosine_decay_schedule(0.1, 20, alpha=0.05)",
        "exponential": "optax.exponential_decay(0.1, 5, 0.5)",
        "exponential_staircase": "optax.exponential_decay(0.1, 5, 0.5, transition_begin=3, staircase=True, end_value=0.02)",
        "piecewise_constant": "optax.piecewise_constant_schedule(0.1, {5: 0.5, 12: 0.1})",
        "warmup_constant": "optax.warmup_constant_schedule(0.0, 0.1, 5)",
        "warmup_cosine": "optax.warmup_cosine_decay_schedule(0.0, 0.1, 5, 20, end_value=0.01)",
        "warmup_exponential": "optax.warmup_exponential_decay_schedule(0.0, 0.1, 5, 4, 0.5)",
        "join": "optax.join_schedules([optax.linear_schedule(0.0, 0.1, 4), optax.cosine_decay_schedule(0.1, 10)], [4])",
    }
    for name, made_by in schedules.items():
        schedule = eval(made_by)
        values = [np.asarray(schedule(jnp.asarray(step)), np.float32) for step in range(26)]
        file.case(f"schedule/{name}", made_by, values=np.stack(values))
    runs = {
        "sgd": "optax.sgd(0.1)",
        "sgd_momentum": "optax.sgd(0.1, momentum=0.9)",
        "sgd_nesterov": "optax.sgd(0.1, momentum=0.9, nesterov=True)",
        "adam": "optax.adam(1e-2)",
        "adam_options": "optax.adam(1e-2, b1=0.8, b2=0.95, eps=1e-4, eps_root=1e-6)",
        "adam_nesterov": "optax.adam(1e-2, nesterov=True)",
        "adamw": "optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 0.1, 5, 20, end_value=0.01), weight_decay=0.1)",
        "adamw_default": "optax.adamw(1e-2)",
        "adamw_mask": "optax.adamw(1e-2, weight_decay=0.1, mask=Params(b=False, w=True))",
        "lion": "optax.lion(1e-2)",
        "lion_options": "optax.lion(1e-2, b1=0.8, b2=0.9, weight_decay=0.1)",
        "rmsprop": "optax.rmsprop(1e-2)",
        "adagrad": "optax.adagrad(1e-1)",
        "clip_by_global_norm_adamw": "optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2, weight_decay=0.1))",
        "clip_by_global_norm_sgd": "optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, momentum=0.9))",
        "clip_sgd": "optax.chain(optax.clip(0.5), optax.sgd(0.1))",
        "decay_chain": "optax.chain(optax.add_decayed_weights(0.1), optax.scale_by_adam(), optax.scale(-1e-2))",
        "masked_sgd": "optax.chain(optax.masked(optax.scale(0.0), Params(b=True, w=False)), optax.sgd(0.1))",
    }
    for name, made_by in runs.items():
        optimiser = eval(made_by)
        state, now, path = optimiser.init(params), params, []
        for step in range(STEPS):
            updates, state = optimiser.update(jax.tree.map(lambda g: g[step], grads), state, now)
            now = optax.apply_updates(now, updates)
            path.append(now)
        file.case(f"run/{name}", made_by)
        file.tree(f"run/{name}/after", jax.tree.map(lambda *leaves: jnp.stack(leaves), *path))

    # A network trained in earnest: 20 steps of AdamW on all of the data.
    k, words = key(304)
    model = eqx.nn.MLP(2, 1, 8, 2, activation=jax.nn.silu, key=k)
    x = normal(305, 16, 2)
    y = jnp.sin(2 * x[:, :1]) * x[:, 1:]
    optimiser = optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 0.03, 5, STEPS), weight_decay=0.01)
    loss = lambda model: jnp.mean((jax.vmap(model)(x) - y) ** 2)
    file.case(
        "train",
        "key = key(304); nn.MLP(2, 1, 8, 2, activation=jax.nn.silu, key=key); mean squared error;"
        " optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 0.03, 5, 20), weight_decay=0.01)",
        key=words, x=x, y=y,
    )  # fmt: skip
    file.tree("train/param", model)
    state, seen = optimiser.init(eqx.filter(model, eqx.is_array)), []
    for _ in range(STEPS):
        value, gradient = eqx.filter_value_and_grad(loss)(model)
        seen.append(value)
        updates, state = optimiser.update(gradient, state, eqx.filter(model, eqx.is_array))
        model = eqx.apply_updates(model, updates)
    file.put("train/losses", jnp.stack([*seen, loss(model)]))
    file.tree("train/after", model)
    file.save()


def lora():
    file = File("lora")
    is_lora = lambda x: isinstance(x, quax.lora.LoraArray)

    def fill(model, seed):
        """Quax starts `b` at zero, which would hide half of the arithmetic: every `b` becomes normal numbers."""
        values = [x for x in jax.tree.leaves(model, is_leaf=is_lora) if is_lora(x)]
        bs = [normal(seed + i, *value.b.shape) for i, value in enumerate(values)]
        where = lambda m: [x.b for x in jax.tree.leaves(m, is_leaf=is_lora) if is_lora(x)]
        return eqx.tree_at(where, model, bs)

    def case(name, seed, made_by, rank, call, **inputs):
        k, words = key(seed)
        lora_k, lora_words = key(seed + 1)
        base = eval(made_by, {"nn": eqx.nn, "key": k})
        for frozen in (True, False):
            wrapped = quax.lora.loraify(base, rank=rank, stop_gradient=frozen, key=lora_k)
            model = fill(wrapped, seed + 2)
            which = f"{name}/stop_gradient" if frozen else f"{name}/trained"
            diff, rest = eqx.partition((model, inputs), eqx.is_inexact_array)

            def loss(diff, rest):
                model, inputs = eqx.combine(diff, rest)
                return sum_of_squares(quax.quaxify(call)(model, **inputs))

            model_grad, input_grad = jax.grad(loss)(diff, rest)
            file.tree(f"{which}/grad", model_grad)
            for argument, value in input_grad.items():
                file.put(f"{which}/grad_in/{argument}", value)
            tangents = jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape), diff)

            def run(diff):
                model, inputs = eqx.combine(diff, rest)
                return quax.quaxify(call)(model, **inputs)

            out, tangent_out = jax.jvp(run, (diff,), (tangents,))
            file.put(f"{which}/jvp", tangent_out)
            if not frozen:
                continue
            file.case(name, f"key = key({seed}); {made_by}; quax.lora.loraify(model, rank={rank}, key=key({seed + 1}))",
                      key=words, lora_key=lora_words, out=out)  # fmt: skip
            file.tree(f"{name}/param", model)
            for argument, value in inputs.items():
                file.put(f"{name}/in/{argument}", value)
            # With b = 0, as loraify leaves it, the wrapped model gives what the base gives.
            untouched = quax.quaxify(call)(wrapped, **inputs)
            assert jnp.allclose(untouched, call(base, **inputs), rtol=1e-6, atol=1e-6)
            # quaxify(grad(f)): a value is one array in there, and so is its gradient.
            dense = quax.quaxify(eqx.filter_grad(lambda m: sum_of_squares(call(m, **inputs))))(model)
            file.tree(f"{name}/dense_grad", dense)

    case("linear", 400, "nn.Linear(10, 12, key=key)", 2, lambda m, x: m(x), x=normal(490, 10))
    case("linear_batch", 410, "nn.Linear(6, 5, use_bias=False, key=key)", 3, lambda m, x: jax.vmap(m)(x), x=normal(491, 4, 6))
    case("mlp", 420, "nn.MLP(4, 3, 8, 2, key=key)", 2, lambda m, x: m(x), x=normal(492, 4))
    case("attention", 430, "nn.MultiheadAttention(2, 8, key=key)", 2, lambda m, x: m(x, x, x), x=normal(493, 5, 8))

    # What loraify draws: for a scale, for a stack of layers made by vmap, for a tree of two layers.
    def drawn(name, seed, made_by, loraified, model):
        k, words = key(seed)
        file.case(f"drawn/{name}", f"{made_by}; {loraified}, key=key({seed}))", lora_key=words)
        file.tree(f"drawn/{name}/param", eval(loraified + ", key=key)", {"quax": quax, "model": model, "key": k}))

    drawn("scale", 440, "model = nn.Linear(4, 3, key=key(441))", "quax.lora.loraify(model, rank=1, scale=0.5",
          eqx.nn.Linear(4, 3, key=jr.key(441)))  # fmt: skip
    drawn("stack", 442, "model = vmap(nn.Linear(4, 3))(split(key(443), 2))", "quax.lora.loraify(model, rank=2",
          eqx.filter_vmap(lambda k: eqx.nn.Linear(4, 3, key=k))(jr.split(jr.key(443), 2)))  # fmt: skip
    drawn("list", 444, "model = [nn.Linear(4, 3, key=key(445)), nn.Linear(3, 4, key=key(446))]",
          "quax.lora.loraify(model, rank=2",
          [eqx.nn.Linear(4, 3, key=jr.key(445)), eqx.nn.Linear(3, 4, key=jr.key(446))])  # fmt: skip
    file.save()


if __name__ == "__main__":
    networks()
    activations()
    losses()
    optimisers()
    lora()
