"""Generates docs/methods.md from the table of methods: `python -m cl_ast.adapters.methods_page docs/methods.md`."""

import sys
from pathlib import Path

from cl_ast.adapters.forms import Foldable, Simplifiable
from cl_ast.adapters.listing import LISTED
from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS, PRESETS
from cl_ast.adapters.options import Number
from cl_ast.adapters.papers import row_in_papers
from cl_ast.adapters.spec import Cost, MethodSpec, cost, parse, shared_by_tasks
from cl_ast.backbone.sites import AST_BASE

_HEAD = """# Methods

This page is generated from the table in `cl_ast/adapters/` by
`python -m cl_ast.adapters.methods_page docs/methods.md`; a test checks that it is current. Parameters are counted for
AST-base as the papers count them: without the head, except that a linear probe is its head (here for 50 classes) and
that BitFit counts the final LayerNorm's bias.

In the equations, x is the input of a block and h its output. "Plain" means that an untrained adapter leaves the
backbone's output as it is; "merges" means that `cl_ast.tasks.merging.merged` can fold the method into a copy of the
backbone.

Methods are combined with `+`: `bottleneck:ffn+lora:qv,r=3`. Options follow a colon, in any order; those left out have
the default shown below. Adapters at a block also train that block's LayerNorm, as the papers do.

Every adapter also takes `from=N`: it then acts only in layers N and above, counted from 0 (`--from-layer N` sets this
for every part of the method). Prompts are then inserted before layer N. Training runs the layers below N once for each
clip and caches their output. The adapter is stored only for the layers in which it acts.
"""
_ROWS_SAID = """
PETL is *Parameter-efficient transfer learning of audio spectrogram transformers* with bottleneck, convpass and LoRA
(tables I to VII), conformer its later version with the conformer adapter (tables 1 to 3). In both, "Pfeiffer" has the
parallel adapter at MHSA, and the sequential one after the FFN: table I's "PF par" is table III's "MHSA-Par-Before", and
its "PF seq" is "FFN-Seq/Par-After". `cl-ast methods SPEC` says the same of one method.
"""
_DIFFERENCES = """
## Where a method needs a word

Checked against the authors' public code; `tests/cl_ast/adapters/test_published_code.py` has transcriptions of it.

- **Sequential, before** (table III). The published layer is h + block(f(LN h)) + f(LN h): the adapter's output is the
  block's only input, and the residual comes from it. That is `sequential,before`, and without the last term
  `sequential,before,noresidual`. An untrained adapter then blocks the backbone, which may be why these rows are the
  worst of table III. `sequential,before,skip` is cl-ast's own, h + block(LN h + f(LN h)): it starts as the backbone.
- **LoRA's scale.** The PETL paper says s = α/RR with α = 8 and RR = 128, so s = 0.0625, and so does its code; the
  conformer paper says "α = 16, s = 8". cl-ast takes 8; write `lora:s=0.0625` for the other. It hardly matters: on
  digits with 20 clips per class and three seeds, s = 8, 1 and 0.0625 gave 61.6, 58.7 and 59.1 %, ± 3 to 9.
- **HYDRA** has 479,520 parameters here, and 470K in table V. Both branches are added to the same sum, so of their two
  biases of 768 numbers a layer only the sum counts: with one bias less a layer they are 470,304.
- **Layer norms.** The papers train the LayerNorm of each block of AST that has an adapter; `nonorm` leaves it alone,
  as their code for Wav2Vec 2.0 does for IEMOCAP (894,528 and 926,208 parameters, in print 895K and 927K).
- **Full fine-tuning.** Over AST everything is trained. Over Wav2Vec 2.0 the papers' code trains the last three layers
  only, although the table says 90M: `full:top=3`.
- **Prompts** stand before all tokens and keep AST's distillation token; the published code puts them behind CLS, in the
  place of the distillation token. Attention does not depend on the order; the pooled mean has one token more.
- **Prefix.** n counts keys and values together, as "Pref-T 24" does: 12 keys and 12 values. So it does in `mam`, whose
  paper counts the two apart: its l = 30 would be n=60. With `mlp=512` an MLP makes the prefix in training, as in
  Li and Liang's paper, which found that steadier than to train the prefix itself (there at 5e-5; `--lr` sets the rate).
  Only the prefix is stored, and a task that is trained again starts with a new MLP. `cl-ast methods` counts the
  parameters that are trained, and the bytes of the file.
- **DoRA.** ‖V‖ has no gradient, as in the paper's section 4.3 and in peft. Weight decay pulls the magnitudes to ‖W‖.
- **LT-SFT.** Half of the epochs train the weights and biases of all linear maps. The other half trains the k that
  changed most, and the head, from their start. The authors' scripts, too, train equally long twice and leave the
  LayerNorms alone. Weight decay pulls the changes to zero; the authors' L1 term, which their scripts for tasks do not
  use, is left out. Training takes the memory of full fine-tuning, and that of the masks.
  `cl_ast.tasks.composing.with_change_of` adds the change of one task to that of another.
- **AdaLoRA.** The rank falls as the paper's cubic schedule says, between 10 % and 50 % of the steps (in the authors'
  script for MNLI between 9 % and 41 %); later epochs train what is left, and only their weights are kept. Schedule,
  importance and regulariser are those of peft. P and Q start with its deviation of 0.02, uniformly distributed. A file
  has a LoRA of rank r, some of whose rows are zero: b a map are not.
- **Convpass.** The published code computes the convolution and drops its result; here it is used. Its activation there
  is QuickGELU, with dropout; here GELU, without.
- **SSF** also scales and shifts the patches, as its code does, and the last LayerNorm, which is a part of the head here
  and trained with every method: 205,824 parameters. `ssf:layers` leaves the patches alone.
- **SORSA.** The regulariser is the mean of Frobenius norms that are not squared. The public code divides its weight,
  4e-4, by the initial learning rate; g is the quotient, 0.08 for 5e-3. Weight decay pulls U, S and V to their start,
  because at zero the backbone would have lost its largest singular values.
- **MoSA.** The parts are random and disjoint, and the whole is their mean, as in the public code. There, 11 of 14
  scripts share W_down, and the configuration's own default shares nothing (`share=none`). Parts of W_down keep their
  start outside of their mask there, and are zero here. Its second pass with a consistency loss is left out.
- **1-bit adapters.** Weights are centred and scaled by their mean and deviation before the sign is taken, and both are
  stored. `onebit:magnitude` has one magnitude and no mean. The adapter reads the normalised input of its block, as all
  adapters here do; in the public code it reads what comes before the LayerNorm.

## Training as the papers do

The recipes of the published data sets have the papers' epochs, batches, masks and learning rates. Known differences:

- **SpecAugment** fills its masks with the value that padding and silence have. The published code fills with 0, which
  after normalisation is the mean of AudioSet.
- **UrbanSound8K** has no validation set, and the published code looks at the test fold after each epoch. Here the fold
  before the test fold, cyclically, is taken from training to validate, so eight folds train and not nine.
- **GSC and FSC** are trained for 75 epochs over AST, and for 50 over Wav2Vec 2.0.
- **The head** starts as a linear probe (`--head fresh` starts it at random), and the best epoch's weights are kept.

## Tasks of earlier releases

A stored task keeps the method that it was trained with. Where a word means more today, its text is read as before and
shown with the word that says so: `sequential,before` as `sequential,before,skip`, `ssf` as `ssf:layers`, `onebit` as
`onebit:magnitude`. Write that word to train such a method today. Tasks of `sorsa` and `mosa` answer as before, too;
where they are trained again, they have today's regulariser and parts.
"""
_INT8 = """
## Over a backbone in 8 bits

`cl-ast add-task DATA --backbone-precision int8` makes a new registry whose backbone keeps the weights of its linear
maps in 8 bits, with a scale for each output (symmetric, per channel). All tasks share it. Every method trains and
answers over it, and a task's own numbers stay as they are. `full` and a merged task take a copy of the backbone in
full, which starts as the rounded one.

The backbone's fingerprint begins with `int8:`, since its tasks fit no other: a registry keeps its precision, and tasks
of the other one are refused. `cl-ast relearn --to REGISTRY --backbone-precision int8` trains a registry's tasks again
over it. The checkpoint on disk stays as it is, and is rounded each time when it is loaded.

For AST-base on a CPU, in one thread:

| | fp32 | int8 |
|---|---:|---:|
| bytes of the backbone | 344,749,056 | 90,276,864 |
| memory that the process takes for it | 332 MB | 97 MB |
| a clip of 10.24 s | 2.28 s | 2.31 s |
| a clip of 1.28 s | 0.25 s | 0.37 s |

A pass turns one map at a time into floating-point numbers, which takes as long for a short clip as for a long one; a
batch of clips shares it. On a GPU that computes in bf16 the layers are a copy in bf16, so memory is not saved there.
"""
_OWN = """
## A method of your own

A form is a frozen dataclass with `label`, `fresh`, `weights` and `delta`; a row of the table is a `Method`. Add the
row to a mapping of your own and pass that mapping on; nothing in the package changes:

    TABLE = {**METHODS, "mine": Method("mine", "what it does", "its equation", "its source", options, place)}
    spec = parse("mine:r=4+lora", TABLE)
    Manager.open("my-registry", methods=TABLE).add_task(task, method=spec)

`tests/cl_ast/adapters/test_methods.py` has an example that is trained, stored and loaded.
"""
_SHARED = """
## Methods with a shared part, measured

`poly`, `mhr`, `halfshared` and `hyper` read a shared part ([registry.md](registry.md#shared-parts)). The aim was at
most 12 kB a task, its head included, and at most 2 points less than LoRA and the conformer. Over `ast-mini`, `hyper`
reaches it. `poly` has the size and not the accuracy, and `mhr` is 52 bytes too large on the digits besides.
`halfshared` misses both.

Accuracy in % on test clips by name, one seed (2026-11-27, two busy virtual cores). The shared parts were trained for 4
epochs on the Arabic commands and ESC-10, with at most 40 training clips per class. Then two other tasks were learned
with them: EmoDB (emotions; 69 test clips, of which one is 1.4 points) and digits of an unseen speaker (500 test clips).
Bytes are those of the numbers in the file, in half precision: first for EmoDB's 7 classes, then for the 10 digits.

| method | numbers of its own | adapter | head | both | shared part, once | EmoDB | digits |
|---|---:|---:|---:|---:|---:|---:|---:|
| `linear` | 0 | 0 | 8.2, 11.3 kB | 8.2, 11.3 kB | | 78.3 | 90.2 |
| `lora` | 18,432 | 36.9 kB | 8.2, 11.3 kB | 45.1, 48.1 kB | | 79.7 | 94.0 |
| `conformer` | 23,136 | 46.5 kB | 8.2, 11.3 kB | 54.7, 57.7 kB | | 69.6 | 94.0 |
| `hyper` | 64 | 128 B | 8.2, 11.3 kB | 8.3, 11.4 kB | 411 kB | 79.7 | 93.8 |
| `mhr` | 384 | 768 B | 8.2, 11.3 kB | 9.0, 12.1 kB | 296 kB | 75.4 | 91.4 |
| `poly` | 48 | 96 B | 8.2, 11.3 kB | 8.3, 11.4 kB | 296 kB | 73.9 | 91.4 |
| `halfshared:r=4` | 3,840 | 7.7 kB | 8.2, 11.3 kB | 15.9, 19.0 kB | 6.8 kB | 75.4 | 91.8 |

- The head is nearly all of it. Over AST-base it is 18.5 kB for ten classes, so that there no method stays below 12 kB.
- The file of a task has more: some 70 kB for the router over `ast-mini`, and its description.
- A linear probe is as good as most of these on EmoDB: with one seed and 69 clips its row tells little. On the digits
  LoRA, the conformer and `hyper` are 3.6 to 3.8 points above the probe, and the others 1.2 to 1.6.
- `mhr` with ten times the learning rate (`--lr 0.05`) was worse: 71.0 and 88.6.
- As in `peft`, A and B are averaged apart. The public code draws Ẑ at random in training (a relaxed Bernoulli); here it
  is σ(Z) / Σσ(Z) throughout. It also trains Z at a rate of 0.1 and without weight decay, which cl-ast does not.
- The Hyperformer's network makes bottlenecks and LayerNorms; here it makes the A and B of a LoRA.

`python -m benchmarks.shared_parts --data FOLDER` measures the four methods; the others are those of
[ast-mini.md](ast-mini.md) with the same splits and epochs.
"""


def page() -> str:
    """Return the whole page as Markdown."""
    parts = [_HEAD, "## The rows\n"]
    parts += [_row(method) for method in METHODS.values()]
    parts.append("## Presets\n")
    parts += [f"- `auto:{name}` is `{means}` ({why}).\n" for name, (means, why) in PRESETS.items()]
    parts.append("\n## Which method is which row of the papers\n")
    parts.append(_ROWS_SAID)
    parts.append("| method | parameters | bytes | in the papers |\n|---|---:|---:|---|")
    for text in LISTED:
        spec = parse(text)
        row = row_in_papers(spec)
        if row or text not in METHODS:
            price = _price(spec)
            parts.append(f"| `{text}` | {price.trainable_parameters:,} | {price.bytes:,} | {row} |")
    return "\n".join(parts) + "\n" + _DIFFERENCES + _INT8 + _OWN + _SHARED


def _row(method: Method) -> str:
    spec = parse(method.name)
    price = _price(spec)
    facts = [f"{price.trainable_parameters:,} parameters", f"learning rate {spec.learning_rate:g}"]
    facts += ["plain"] if spec.starts_plain else []
    facts += ["merges"] if _merges(spec) else []
    shared = sum(one.weight.numbers for one in shared_by_tasks(spec, AST_BASE).values())
    facts += [f"shared part of {shared:,} numbers", f"acts as `{spec.acts_as}`"] if shared else []
    lines = [f"### `{spec.text}`\n", f"{method.does}\n", f"    {method.equation}\n"]
    lines += [f"Source: {method.source}. {', '.join(facts)}.\n"]
    options = [f"- `{option.help}`{_meaning(option)}" for option in method.options]
    return "\n".join([*lines, *options, ""] if options else lines)


def _price(spec: MethodSpec) -> Cost:
    # The number of parameters of AST-base, so that its weights need not be loaded.
    return cost(spec, AST_BASE, classes=50 if spec.trains == "head" else None, backbone_parameters=86_187_264)


def _meaning(option: object) -> str:
    return f": {option.meaning}" if isinstance(option, Number) else ""


def _merges(spec: MethodSpec) -> bool:
    acting = parse(spec.acts_as) if spec.acts_as else spec
    return spec.trains == "adapter" and all(
        isinstance(placement.form, Foldable | Simplifiable) for placement in acting.placements
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
