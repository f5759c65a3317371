"""Private names that standard ones have replaced: none of them may be defined again.

A definition is a function, a class, a module, a constant, an attribute or a parameter, of the packages. Distinctive names are
forbidden everywhere. Ordinary words are forbidden in the files where they meant something else than a reader expects.
"""

import ast

EVERYWHERE = """
Door put_up LEAVING TOLD ALONE APART _listen _leave
_together from_root environment_of_a_child launched_ranks YIELDING PASSING_ON
Watch Stillness TICK COMPILING STARTING FAILING GO_ON BEGIN way_on in_words progress_of _patience _own_stall before_end
Threads Helper place_of _waits_for end_in_time dismiss LEFT_ALONE
quiet_stderr without_keras without_collecting leave_uncollected allowed_cores available_cores
LaunchersTerminal launchers_terminal listens diverts takes_errors others_wrote
showing Lasting Pace PlainLines LiveView can_redraw in_rows
Unreadable EnvironmentFault NotFinite ONE_SIGNAL RanksDrifted CannotWrite FIXES RowFile write_atomically COPIES
FolderLock is_held one_of in_brief check_room check_shared_out BIGGEST in_one_line _built same_layout as_is
blocks_of fold_filter _with_ones kind_of make_numbered quiet_mujoco EarlyEnd FireAgain unusable check_ends first_observation
first_not_finite even_bounds WorkerVectorEnv end_workers WorkerFailed WorkerTraceback end_after_parent Stepper _take_in
going_on place_values SegmentEvaluator values_again blank_batch copy_to_oldpi goes_on ReturnScaler carried
MinibatchDescent minibatch_parts GATHER_BELOW choose_strategy of_compiled_sweep of_average of_all_ranks everyones
plan_minibatches exp_of_finite_slope penalised_surrogate adapted_beta KLPenalty one_by_one TERMS _terms ValueFit value_factors
terms_rows Learner RUN_OPTIONS Training _goes_on _cut _ask under_way agreed_elapsed Limits AT_ONCE Locals at_end
RunFolder check_ours leftovers passed_over forget_after HALF_DONE as_asked_for check_progress RunLogs whole_rows
what_went_wrong MAY_CHANGE LIMITS MOST settings_for over_cores why_not_stagger without_effect check_asked_for
go_on_with asked_anew in_total with_defaults example_of_policy policy_named typed_from its_own OF_LEARN typed
complaint complain normalised shown_default add_to read_previous wait_for_its_end ENDING check_fits may_start
claim_folder go_back Job give_up log_to check_machine print_end BestByReturn Evaluations too_seldom
read_start keep_start begin_with load_fitting BEGINNINGS watched_how WATCHED load_with_env
ending_children draw_again show_again choose_opengl cautions NEARLY NOT_ANOTHER NO_GROUP
part_done to_the_minute contents_of thinned as_data as_images Standing standing is_busy TAKEN end_with_the_sweep take_note
text_of as_words how_to_load TensorFilter whole_folder free_path refusals
"""

IN_FILES = {
    "common/distributed/exit_guard.py": "say look left GRACE PATIENCE",
    "common/distributed/communicator.py": "signed last_words waiting collectives end",
    "common/distributed/heartbeat.py": "keep phase fail everyone where SIZE",
    "common/distributed/watchdog.py": "look ticks",
    "common/runtime/thread_pool.py": "start results PATIENCE",
    "common/loggers/console.py": "SHOWN number clock",
    "common/loggers/live_display.py": "screen Shared Curve say",
    "common/errors.py": "left shared who when fix why",
    "common/diagnostics/replica_check.py": "unusual",
    "common/diagnostics/crash_dump.py": "PREFIXES INPUTS SCALE FORWARD",
    "common/storage/write_errors.py": "fix writing",
    "common/storage/atomic.py": "beside sync",
    "common/storage/directory_lock.py": "check",
    "common/validation.py": "whole number above truth about shown",
    "common/policies/space_serialization.py": "room FEW",
    "common/policies/observation_encoder.py": "one batch plain",
    "common/policies/networks.py": "read folded",
    "common/policies/base.py": "shapes description",
    "common/distributions/categorical.py": "Block numbers real nothing",
    "common/envs/stagger.py": "left",
    "common/envs/env_checker.py": "raised usable",
    "common/envs/rendering.py": "Film look succeeds",
    "common/vec_env/in_process.py": "called part first",
    "common/vec_env/subproc.py": "ask answer where",
    "common/vec_env/worker.py": "serve tell STACK PATIENCE",
    "common/vec_env/adapter.py": "ours waiting",
    "common/rollouts/collector.py": "wanted real LONGEST",
    "common/rollouts/segment.py": "join squeeze",
    "common/rollouts/advantages.py": "reach",
    "common/optim/minibatch_optimizer.py": "sweep room enabled parts",
    "common/optim/gathered_sweep.py": "sweep room enabled parts",
    "common/optim/averaged_sweep.py": "sweep room enabled parts",
    "common/optim/conjugate_gradient.py": "product image squared",
    "common/mpi_adam.py": "factors",
    "common/training/loop.py": "parts finish",
    "common/training/stopping.py": "check",
    "common/runs/run_directory.py": "claim",
    "common/runs/log_files.py": "cut seen",
    "common/runs/results.py": "Run Curve averaged merged final",
    "baselines_ppo/objectives.py": "clipped",
    "baselines_ppo/pposgd_simple.py": "newest",
    "baselines_ppo/algorithm_setup.py": "given recorded strategies",
    "baselines_ppo/config/resolve.py": "share_out",
    "baselines_ppo/config/config_files.py": "checked OWN",
    "baselines_ppo/cli/parser.py": "count",
    "baselines_ppo/config/converters.py": "count",
    "baselines_ppo/train/resume.py": "choose",
    "baselines_ppo/train/session.py": "opened spare",
    "baselines_ppo/train/preflight.py": "FILES",
    "baselines_ppo/experiment/directory.py": "choose instead",
    "baselines_ppo/experiment/outputs.py": "announce outputs",
    "baselines_ppo/experiment/summary.py": "announce",
    "baselines_ppo/experiment/callbacks.py": "Best offer",
    "baselines_ppo/experiment/recording.py": "recorded monitored KEPT",
    "baselines_ppo/play/command.py": "say",
    "baselines_ppo/play/video.py": "elsewhere deaf",
    "baselines_ppo/plot/caveats.py": "unfinished unequal copies",
    "baselines_ppo/plot/grouping.py": "grouped differing CHOSEN",
    "baselines_ppo/plot/significance.py": "figures statement LEVEL",
    "baselines_ppo/plot/figure.py": "band looks",
    "baselines_ppo/plot/table.py": "show",
    "baselines_ppo/report/summary.py": "headline last done",
    "baselines_ppo/report/figures.py": "INK RC",
    "baselines_ppo/sweep/command.py": "Signals fill",
    "baselines_ppo/sweep/directory.py": "finish",
    "baselines_ppo/sweep/plan.py": "extended named",
    "baselines_ppo/sweep/processes.py": "Child last_words Signals fill again",
    "baselines_ppo/sweep/display.py": "Board Screen LOOK",
    "baselines_ppo/export/writers.py": "saver converted",
    "baselines_ppo/export/observations.py": "leaves prepared",
}

# Names that were variables: an assignment to one counts, too.
VARIABLES = "_waits_for going_on goes_on reach wanted real image squared newest looks under_way typed"

MODULES = """
door watch room factors screen quiet going_on job cautions comparison folders film learner commands initialisers
policy_files report_figures report_words export_files export_graph export_observations sweep_cli sweep_plan sweep_folder
sweep_runs sweep_screen checks spaces operators writing folder_lock mpi drift post_mortem bad_minibatch env_faults early_end
workers worker_process stepper segments optimise run_folder run_logs run_data live_view limits threads advice
vector_promises compiled
"""


def definitions(module):
    """(name, line, whether it is a local variable) of what a syntax tree defines."""

    def visit(node, in_function):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield child.name, child.lineno, False
            elif isinstance(child, ast.arg):
                yield child.arg, child.lineno, False
            elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                yield child.id, child.lineno, in_function
            elif isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Store):
                yield child.attr, child.lineno, False
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from visit(child, not isinstance(child, ast.ClassDef) and (in_function or inside))

    return visit(module, False)


def findings(tree):
    """(path, line, "replaced name", text) of each definition that has a replaced name; `tree`: a `source_tree.Tree`."""
    for path, module in tree.package_files().items():
        stem = path.rsplit("/", 1)[-1].removesuffix(".py")
        if stem in MODULES.split():
            yield path, 1, "replaced name", f"module {stem}"
        forbidden = {*EVERYWHERE.split(), *IN_FILES.get(path, "").split()}
        for name, line, is_local in definitions(module):
            if name in forbidden and (name in VARIABLES.split() or not is_local):
                yield path, line, "replaced name", name
    for path in IN_FILES:
        if path not in tree.files:
            yield path, 1, "replaced name", "IN_FILES names a file that does not exist"
