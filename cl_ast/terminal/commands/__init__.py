"""The commands, one a file; importing them imports nothing heavier than click."""

from cl_ast.terminal.commands.add_task import add_task
from cl_ast.terminal.commands.backup import backup
from cl_ast.terminal.commands.baselines import baselines
from cl_ast.terminal.commands.compare import compare
from cl_ast.terminal.commands.demo import demo
from cl_ast.terminal.commands.doctor import doctor
from cl_ast.terminal.commands.embed import embed
from cl_ast.terminal.commands.evaluate import evaluate
from cl_ast.terminal.commands.events import events
from cl_ast.terminal.commands.export import export
from cl_ast.terminal.commands.gc import gc
from cl_ast.terminal.commands.help import help_
from cl_ast.terminal.commands.import_task import import_task
from cl_ast.terminal.commands.listen import listen
from cl_ast.terminal.commands.methods import methods
from cl_ast.terminal.commands.predict import predict
from cl_ast.terminal.commands.pull import pull
from cl_ast.terminal.commands.push import push
from cl_ast.terminal.commands.rebuild import rebuild
from cl_ast.terminal.commands.relearn import relearn
from cl_ast.terminal.commands.remove import remove
from cl_ast.terminal.commands.rename import rename
from cl_ast.terminal.commands.report import report
from cl_ast.terminal.commands.reproduce import reproduce
from cl_ast.terminal.commands.rollback import rollback
from cl_ast.terminal.commands.route import route
from cl_ast.terminal.commands.score import score
from cl_ast.terminal.commands.serve import serve
from cl_ast.terminal.commands.share import share
from cl_ast.terminal.commands.show import show
from cl_ast.terminal.commands.splits import splits
from cl_ast.terminal.commands.stats import stats
from cl_ast.terminal.commands.stream import stream
from cl_ast.terminal.commands.tasks import tasks
from cl_ast.terminal.commands.tune import tune
from cl_ast.terminal.commands.undo import undo
from cl_ast.terminal.commands.verify import verify

COMMANDS = (
    add_task,
    backup,
    baselines,
    compare,
    demo,
    doctor,
    embed,
    evaluate,
    events,
    export,
    gc,
    help_,
    import_task,
    listen,
    methods,
    predict,
    pull,
    push,
    rebuild,
    relearn,
    remove,
    rename,
    report,
    reproduce,
    rollback,
    route,
    score,
    serve,
    share,
    show,
    splits,
    stats,
    stream,
    tasks,
    tune,
    undo,
    verify,
)
