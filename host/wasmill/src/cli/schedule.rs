//! Options of `schedule` and its subcommands.

use clap::{Args, Subcommand, ValueEnum};
use wasmill_model::ScheduleName;

use crate::cli::run::{InputArgs, TaskOptions};
use crate::cli::server::{ServerArgs, WaitArgs};

const SET_EXAMPLES: &str = "\
Examples:
  wasmill schedule set nightly '30 2 * * *' report --timezone Europe/Berlin
  wasmill schedule set poll '*/10 * * * * *' fetch --input @urls.json --no-overlap
  wasmill schedule set hourly @hourly words --stdin text.txt --missed skip -- --top 3

The expression has five fields (minute, hour, day of the month, month, day of the week), or six with seconds \
in front; or it is @hourly, @daily, @weekly, @monthly or @yearly.";

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// List schedules and their next run
    List(ListSchedulesArgs),
    /// Show a schedule with its task
    Show(ShowScheduleArgs),
    /// Create or replace a schedule
    #[command(after_help = SET_EXAMPLES)]
    Set(Box<SetScheduleArgs>),
    /// Delete schedules; tasks that they started are kept
    Delete(SchedulesArgs),
    /// Pause schedules until they are resumed
    Pause(SchedulesArgs),
    /// Resume schedules; runs that were due meanwhile are skipped
    Resume(SchedulesArgs),
    /// Run a schedule now; its next run stays the same
    Run(RunScheduleArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ListSchedulesArgs {
    /// Print the server's response as JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ShowScheduleArgs {
    /// Schedule name
    #[arg(value_name = "NAME")]
    pub(crate) name: ScheduleName,

    /// Print the server's response as JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SchedulesArgs {
    /// Schedule names
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<ScheduleName>,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SetScheduleArgs {
    /// Name of the schedule
    #[arg(value_name = "NAME")]
    pub(crate) name: ScheduleName,

    /// Cron expression
    #[arg(value_name = "CRON")]
    pub(crate) cron: String,

    /// Name of a plugin on the server [default: io-stub]
    #[arg(value_name = "PLUGIN")]
    pub(crate) plugin: Option<String>,

    /// Time zone of the expression, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    pub(crate) timezone: Option<String>,

    /// Policy for missed runs [default: one]
    #[arg(long, value_enum, value_name = "POLICY")]
    pub(crate) missed: Option<MissedRuns>,

    /// Skip a run while a task of an earlier run is unfinished
    #[arg(long)]
    pub(crate) no_overlap: bool,

    #[command(flatten)]
    pub(crate) input: InputArgs,

    /// Print the server's response as JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) options: TaskOptions,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// The policy for missed runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MissedRuns {
    /// Skip them
    Skip,
    /// Start one run for all of them
    One,
    /// Start each of them
    All,
}

#[derive(Args, Debug)]
pub(crate) struct RunScheduleArgs {
    /// Schedule name
    #[arg(value_name = "NAME")]
    pub(crate) name: ScheduleName,

    #[command(flatten)]
    pub(crate) wait: WaitArgs,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}
