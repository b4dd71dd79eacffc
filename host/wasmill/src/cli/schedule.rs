//! Options of `schedule` and its commands.

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
    /// Lists the schedules of a server, and when each runs next.
    List(ListSchedulesArgs),
    /// Shows one schedule with what it asks for.
    Show(ShowScheduleArgs),
    /// Makes a schedule, or replaces one.
    #[command(after_help = SET_EXAMPLES)]
    Set(Box<SetScheduleArgs>),
    /// Removes schedules; tasks that they have started stay.
    Delete(SchedulesArgs),
    /// Holds schedules back until they are resumed.
    Pause(SchedulesArgs),
    /// Lets schedules go on; what was due meanwhile is over.
    Resume(SchedulesArgs),
    /// Runs a schedule now; when it is due next stays as it is.
    Run(RunScheduleArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ListSchedulesArgs {
    /// Prints what the server answers, as JSON.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ShowScheduleArgs {
    /// The schedule.
    #[arg(value_name = "NAME")]
    pub(crate) name: ScheduleName,

    /// Prints what the server answers, as JSON.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SchedulesArgs {
    /// The schedules.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<ScheduleName>,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SetScheduleArgs {
    /// What it is called.
    #[arg(value_name = "NAME")]
    pub(crate) name: ScheduleName,

    /// When it runs, a cron expression.
    #[arg(value_name = "CRON")]
    pub(crate) cron: String,

    /// The name of a plugin of the server [default: io-stub]
    #[arg(value_name = "PLUGIN")]
    pub(crate) plugin: Option<String>,

    /// The time zone of the expression, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    pub(crate) timezone: Option<String>,

    /// What becomes of runs that the server missed [default: one]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) missed: Option<MissedRuns>,

    /// Leaves a run out while a task of an earlier one waits or runs.
    #[arg(long)]
    pub(crate) no_overlap: bool,

    #[command(flatten)]
    pub(crate) input: InputArgs,

    /// Prints what the server answers, as JSON.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) options: TaskOptions,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// What becomes of missed runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MissedRuns {
    /// They are left out.
    Skip,
    /// A single run makes up for them.
    One,
    /// Each of them is made up for.
    All,
}

#[derive(Args, Debug)]
pub(crate) struct RunScheduleArgs {
    /// The schedule.
    #[arg(value_name = "NAME")]
    pub(crate) name: ScheduleName,

    #[command(flatten)]
    pub(crate) wait: WaitArgs,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}
