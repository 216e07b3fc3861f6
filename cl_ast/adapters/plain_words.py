"""Says in a sentence what each method does, for people who do not know its paper."""

from cl_ast.adapters.papers import row_in_papers
from cl_ast.adapters.spec import MethodSpec

SENTENCES = {
    "linear": "trains a classifier on what the frozen backbone computes, and changes nothing inside it",
    "full": "trains every weight of a copy of the backbone, for comparison; the task is then as large as the backbone",
    "bitfit": "trains the biases, the constants that each layer adds, and no other weight",
    "ssf": "scales and shifts the output of every linear map and LayerNorm, and the patches, by trained numbers",
    "lora": "adds to some linear maps of each layer a small update: the product of two narrow matrices of rank r",
    "dora": "turns the rows of some linear maps of each layer by a small update, and trains the length of each row",
    "adalora": "adds a small update to some linear maps, and leaves the rank where it matters most: b a map in the end",
    "paca": "trains r randomly chosen columns of some linear maps of each layer, and leaves the other columns frozen",
    "bone": "updates some linear maps of each layer by trained blocks that are multiplied by the map's own blocks",
    "sorsa": "trains the r strongest directions (singular vectors) of some linear maps of each layer",
    "ltsft": "trains every weight of the linear maps, and then again only the k that changed most (sparse fine-tuning)",
    "prompt": "puts n trained tokens before those of the sound, in every layer (deep) or in the first one (shallow)",
    "prefix": "lets the attention of each layer look at n trained positions besides those of the sound",
    "prefix-adapter": "adds to each head of attention what it finds at n trained positions",
    "multihead": "adds a small network to each head of attention: down to r numbers, and up again",
    "mam": "combines a short prefix in attention with a small network beside the feed-forward network (mix and match)",
    "bottleneck": "adds a small network to each layer: down to r numbers, GELU, and up again",
    "convpass": "adds a small network to each layer: down to r numbers, a convolution over the sound, up again",
    "conformer": "adds a small network to each layer: down to r numbers, a convolution over k tokens, up again",
    "hydra": "adds two small networks to each layer: one beside a block, and one after it",
    "parallel": "adds a small network with ReLU beside a block of each layer",
    "sequential": "adds a small network with ReLU after a block of each layer, which reads the block's output",
    "scaled": "adds a small network with ReLU beside a block of each layer, its output multiplied by s",
    "compacter": "adds a small network to each layer whose weights are put together from factors that layers share",
    "mosa": "adds a small network to each layer of which each step trains one of n parts; in the end all act together",
    "moa": "adds n small networks to each layer, mixed for every token by trained shares",
    "softmoa": "adds n small networks to each layer; each works on means of the tokens, weighted by trained shares",
    "poly": "mixes a small update of attention from skills that tasks share; a task learns only how much of each",
    "mhr": "as poly, with another mixture in each of h parts of the numbers",
    "halfshared": "adds a small network to each layer: the way down to r numbers is shared, a task learns the way up",
    "hyper": "lets a network that tasks share make a small update of attention from 64 numbers, which a task learns",
    "onebit": "adds a small network to each layer whose weights are stored as one bit each",
}
_BLOCKS = (
    "pfeiffer: one adapter in each layer, at attention (mhsa) or at the feed-forward network (ffn), as in the paper of "
    "Pfeiffer et al.; houlsby: two in each layer, one at each of these, as in that of Houlsby et al."
)


def explained(spec: MethodSpec) -> list[str]:
    """Return a line for each part of a method, one about Pfeiffer and Houlsby where one of them is in it, and one about
    the papers where it is a row of their tables.

    A row of a table of one's own has no sentence here, and no line.
    """
    names = spec.family.split("+")
    lines = [f"{name}: {SENTENCES[name]}" for name in names if name in SENTENCES]
    row = row_in_papers(spec)
    return [
        *lines,
        *([_BLOCKS] if any(word in spec.text for word in ("pfeiffer", "houlsby")) else []),
        *([f"in the papers: {row}"] if row else []),
    ]
