//! What can be said on the command line.

mod literal;
mod values;

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use sekisho_core::id::{RequestId, RuntimeId, WorkerRef};
use sekisho_core::runtime_api::IdempotencyKey;
use sekisho_core::secret::BaseUrl;

pub(crate) use literal::with_literal_message;
use values::searchable;
pub(crate) use values::{Pair, SortKey, Status, Time, Variable, Watched};

/// What stands below the help: what cannot be seen from the arguments.
const AFTER_HELP: &str = "\
A worker is named RUNTIME/WORKER, as `sekisho workers` lists it. The beginning of an id will do
where there is only one such id.

Environment:
  SEKISHO_SERVER             the server's URL, unless --server or --config says something else
  SEKISHO_ACCESS_TOKEN       the server's access token
  SEKISHO_ACCESS_TOKEN_FILE  a file that holds it
  NO_COLOR                   set to anything: no colours

Exit status:
  0  done
  1  something on this side failed, such as writing the output
  2  the command line, the configuration or the request is invalid
  3  there is no such runtime or worker
  4  the runtime failed, or cannot be reached
  5  the gateway failed, cannot be reached, or did not let you in
  6  the time was over
`watch`, `wait` and `attach` exit with the status of the worker that has ended, and with 128 and the
number of the signal that ended it, as a shell would.";

/// Workers on several machines from one terminal.
///
/// Speaks to a sekisho server, or with --config goes to the configured runtimes by itself, without a server.
#[derive(Parser, Debug)]
#[command(name = "sekisho", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What goes with every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The server [default: $SEKISHO_SERVER, or http://127.0.0.1:8787]
    #[arg(long, global = true, value_name = "URL", conflicts_with = "config")]
    pub(crate) server: Option<BaseUrl>,
    /// Go to the runtimes of this configuration, without a server
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The file that holds the server's access token
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "config")]
    pub(crate) access_token_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file, instead of the system's, for an https server
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "config")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Send the access token even over http to another machine
    #[arg(long, global = true, conflicts_with = "config")]
    pub(crate) allow_plaintext: bool,
    /// Print JSON: the replies as the API gives them, one line each
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub(crate) color: ColorWhen,
}

/// When to use colours: auto, always, never.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List the runtimes, and how each is faring
    Runtimes,
    /// Show one runtime
    Runtime {
        /// Which one
        #[arg(value_name = "RUNTIME")]
        runtime_id: RuntimeId,
    },
    /// List the workers, of all runtimes or of one
    Workers {
        /// Of this one alone
        #[arg(value_name = "RUNTIME")]
        runtime_id: Option<RuntimeId>,
        #[command(flatten)]
        filter: Filter,
        /// Only those in this state: running, stopped or cancelled
        #[arg(long, value_name = "STATUS")]
        status: Option<Status>,
        /// The order
        #[arg(long, value_name = "KEY")]
        sort: Option<SortKey>,
        /// Go on with the list as it changes, until Ctrl-C: the whole list on a terminal, elsewhere a line a change; with
        /// --json one object a line
        #[arg(long, short)]
        watch: bool,
    },
    /// Show the workers that need attention first, as they change, until q or Ctrl-C
    ///
    /// First runtimes that are not reached; then the workers that wait for an answer, those that failed within the last hour,
    /// those that run, at work before idle, and those that have ended. Where standard input or output is no terminal, and with
    /// --json, the list is printed once.
    Top {
        /// Of this runtime alone
        #[arg(value_name = "RUNTIME")]
        runtime_id: Option<RuntimeId>,
    },
    /// Show one worker
    Worker {
        #[command(flatten)]
        named: Named,
    },
    /// Start a worker, and print its name
    Create(Create),
    /// List the profiles of a runtime: what its workers can run
    Profiles {
        /// Of which runtime
        #[arg(value_name = "RUNTIME")]
        runtime_id: RuntimeId,
    },
    /// Send a worker input
    ///
    /// All that follows the worker's name is the message, as it is: options of this command come before the name.
    Send {
        #[command(flatten)]
        named: Named,
        /// The message; `-` or nothing for what comes on standard input
        #[arg(value_name = "TEXT", trailing_var_arg = true, allow_hyphen_values = true)]
        text: Vec<String>,
        /// Send it as the system, not as the user
        #[arg(long)]
        system: bool,
        /// Ask for the message without showing it; transcript, events and logs do not have it either
        #[arg(long, conflicts_with = "text")]
        secret: bool,
        /// Send the end of input, as Ctrl-D does in a terminal
        #[arg(long, conflicts_with_all = ["text", "secret", "system"])]
        eof: bool,
        /// Names this input over all its repetitions [default: a random one]
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<IdempotencyKey>,
    },
    /// Interrupt what a worker is doing, as Ctrl-C does in a terminal; the worker goes on
    Interrupt {
        #[command(flatten)]
        named: Named,
    },
    /// List the questions of workers that wait for an answer
    Requests {
        /// Of which runtime or worker [default: of all, on all runtimes]
        #[arg(value_name = "RUNTIME[/WORKER]")]
        scope: Option<Watched>,
        /// Go on with each question as it is asked and as it no longer waits, until Ctrl-C; with --json one object a line
        #[arg(long, short)]
        watch: bool,
    },
    /// Answer a question of a worker
    Answer {
        #[command(flatten)]
        named: Named,
        /// Which question, as `requests` lists it
        #[arg(value_name = "REQUEST")]
        request_id: RequestId,
        /// The answer: one of its options
        #[arg(value_name = "OPTION", required_unless_present = "dismiss")]
        option_id: Option<String>,
        /// Choose none of the options
        #[arg(long, conflicts_with = "option_id")]
        dismiss: bool,
    },
    /// Take up an agent again whose runtime went away
    Resume {
        #[command(flatten)]
        named: Named,
    },
    /// End a worker in an orderly way
    Stop {
        #[command(flatten)]
        named: Named,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// End a worker at once
    Cancel {
        #[command(flatten)]
        named: Named,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Forget workers that have ended, transcripts included
    Remove {
        /// Which workers
        #[arg(value_name = "RUNTIME/WORKER", required = true)]
        workers: Vec<WorkerRef>,
    },
    /// Forget all workers that have ended, or those of them that are named by the options
    Prune {
        /// Of this one alone
        #[arg(value_name = "RUNTIME")]
        runtime_id: Option<RuntimeId>,
        /// Only those that ended longer ago, as in 2days or 12h
        #[arg(long, value_name = "AGE")]
        older_than: Option<humantime::Duration>,
        /// Only those in this state: stopped or cancelled
        #[arg(long, value_name = "STATUS")]
        status: Option<Status>,
        #[command(flatten)]
        filter: Filter,
        /// Without a question
        #[arg(long, short)]
        yes: bool,
        /// Print which ones, and forget none
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
    },
    /// Print what was said to a worker and what it said
    Transcript {
        #[command(flatten)]
        named: Named,
        /// Begin with this item; the first is 1
        #[arg(long, value_name = "NUMBER", conflicts_with_all = ["tail", "since"])]
        from: Option<NonZeroU64>,
        /// Only so many items at the end
        #[arg(long, value_name = "NUMBER", conflicts_with = "since")]
        tail: Option<u64>,
        /// Only what was said since then: how long ago, as in 10m, or a time, as in 2026-01-31T12:00:00Z
        #[arg(long, value_name = "TIME")]
        since: Option<Time>,
        /// With the time of each item, where the runtime tells it
        #[arg(long)]
        times: bool,
        /// Only the contents, as they are
        #[arg(long, conflicts_with = "times")]
        raw: bool,
        /// Go on with what comes, until the worker ends
        #[arg(long, short)]
        follow: bool,
    },
    /// Search transcripts for a text, newest first
    ///
    /// Prints the items that hold the text, as RUNTIME/WORKER:ITEM: CONTENT; `transcript --from ITEM` shows what comes after
    /// one. Exits with 1 where there is none.
    Grep {
        /// What to look for: a text, of at most 256 characters, not a pattern
        #[arg(value_name = "TEXT", value_parser = searchable)]
        text: String,
        /// Of which runtime or worker [default: of all, on all runtimes]
        #[arg(value_name = "RUNTIME[/WORKER]")]
        scope: Option<Watched>,
        /// Capital and small letters are the same, in all scripts that have them; `ß` is found by `SS`, accents count
        #[arg(long, short)]
        ignore_case: bool,
        /// Only what was said since then: how long ago, as in 10m, or a time, as in 2026-01-31T12:00:00Z
        #[arg(long, value_name = "TIME")]
        since: Option<Time>,
        /// Only what was said until then
        #[arg(long, value_name = "TIME")]
        until: Option<Time>,
        /// Stop after so many items
        #[arg(long, short, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
        max_count: Option<u64>,
    },
    /// Watch workers live, until they end
    ///
    /// Exits with the status of the worker. Of several workers each line begins with the worker's name, and the exit
    /// status is the highest one; workers of a runtime, or all, are watched without an end, new ones included.
    Watch {
        /// Which workers, or all that run on which runtime
        #[arg(value_name = "RUNTIME[/WORKER]", required_unless_present = "all")]
        watched: Vec<Watched>,
        /// All workers that run
        #[arg(long, conflicts_with = "watched")]
        all: bool,
        /// Go on after this cursor, instead of beginning with a snapshot; for one worker
        #[arg(long)]
        cursor: Option<String>,
        /// Show also states, usage, and events that are not known
        #[arg(long, short)]
        verbose: bool,
        /// Exit with 0, however the worker ended
        #[arg(long)]
        no_exit_code: bool,
    },
    /// Wait until workers have ended
    ///
    /// Exits with the status of the worker; of several, with the highest one.
    Wait {
        /// Which workers
        #[arg(value_name = "RUNTIME/WORKER", required = true)]
        workers: Vec<WorkerRef>,
        /// Exit with 0, however the workers ended
        #[arg(long)]
        no_exit_code: bool,
    },
    /// Talk to a worker: its history, what it says, and a line to write on
    ///
    /// Enter sends the line; a paste of several lines is one line of several rows, which Enter sends as one. What could
    /// not be sent comes back into the line. While a question of the worker is open, a line that is the number of one of its
    /// options answers it; a space before the number sends it as a message. Ctrl-D on an empty line, or /quit, leaves; the worker goes on. Ctrl-C on an
    /// empty line interrupts what the worker is doing. Ctrl-X Ctrl-P asks for a line that is not shown. Ctrl-X Ctrl-S,
    /// once confirmed, or /stop, stops the worker; Ctrl-X Ctrl-C, once confirmed, or /cancel, cancels it. /help lists all.
    ///
    /// Needs a terminal on standard input and output. Without one, `send` and `watch` do.
    Attach {
        #[command(flatten)]
        named: Named,
        /// Give the worker's own terminal through, keys and size included; Ctrl-P Ctrl-Q leaves
        #[arg(long)]
        raw: bool,
    },
    /// Check the connection to each configured runtime, phase by phase
    ///
    /// Needs --config: a server does not tell where its runtimes are.
    Doctor {
        /// Only these
        #[arg(value_name = "RUNTIME")]
        runtime_ids: Vec<RuntimeId>,
        /// Show where the runtimes are
        #[arg(long)]
        show_endpoints: bool,
    },
    /// Print a script that completes commands, runtimes and workers in a shell
    ///
    /// In bash: `source <(sekisho completions bash)`. Completions ask the server, or the runtimes of --config.
    Completions {
        /// Which shell: bash, elvish, fish, powershell or zsh
        shell: String,
    },
    /// Write the manual pages into a folder
    Man {
        /// Where to; it must be there
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
}

/// Which workers of a list.
#[derive(Args, Debug)]
pub(crate) struct Filter {
    /// Only those of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Only those with this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<Pair>,
}

/// A worker.
#[derive(Args, Debug)]
pub(crate) struct Named {
    /// Which one
    #[arg(value_name = "RUNTIME/WORKER")]
    pub(crate) worker: WorkerRef,
}

/// What to start.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("intent").args(["task", "role"]))]
pub(crate) struct Create {
    /// On which runtime
    #[arg(value_name = "RUNTIME")]
    pub(crate) runtime_id: RuntimeId,
    /// What it runs: a profile of the runtime's [default: the runtime's own default]
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
    /// What to call it
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// A label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<Pair>,
    /// In which directory of the runtime's machine it starts, where its profile allows that
    #[arg(long, value_name = "PATH")]
    pub(crate) cwd: Option<String>,
    /// A variable for it, where its profile allows that; without a value, as it is here. May be repeated
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<Variable>,
    /// A label: the task that it is for. Nothing is done with it
    #[arg(long, value_name = "TEXT")]
    pub(crate) task: Option<String>,
    /// A label: the role that it has
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,
    /// A label: what it is for, where it has no task
    #[arg(long, value_name = "TEXT", conflicts_with = "task")]
    pub(crate) purpose: Option<String>,
    /// Talk to it at once, as `attach` does
    #[arg(long)]
    pub(crate) attach: bool,
    /// Names this creation over all its repetitions [default: a random one]
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<IdempotencyKey>,
}
