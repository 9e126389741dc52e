//! `peer-storage`: brings the coins of a lost Lightning wallet back through its peers, and keeps the
//! backups of others.
//!
//! ```text
//! retrieve   seed + peers ─▶ what they keep              recover   ... ─▶ consent ─▶ close, sweep ─▶ coins
//! push       a list of channels ─▶ peers                 serve     keeps backups for others
//! inspect    a sealed backup ─▶ what is in it
//! ```
//!
//! A file for each command; they share `args` (the command line), `identity` (from files to keys), `node`
//! (data directory and session), `channels` (how channels and peers are written), `report` (what a restore
//! has brought), `output` (where words and JSON go) and `failure` (what can go wrong, and its exit code).

mod args;
mod channels;
mod failure;
mod identity;
mod inspect;
mod node;
mod output;
mod push;
mod recover;
mod report;
mod retrieve;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::output::Output;

/// Brings the coins of a lost Lightning wallet back through its peers (BOLT #1 peer storage).
///
/// The seed is read from a file or a hidden prompt, never from an argument or the environment.
#[derive(Parser)]
#[command(name = "peer-storage", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Write JSON, an object a line, and nothing else, to the standard output.
    #[arg(long, global = true)]
    json: bool,
    /// Say on the standard error what goes on inside. Holds node ids, no keys and no channels.
    #[arg(long, global = true)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Command {
    Retrieve(retrieve::Args),
    Recover(recover::Args),
    Push(push::Args),
    Serve(serve::Args),
    Inspect(inspect::Args),
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something inside failed
  2  the command line, or a file named there, cannot be used
  3  nothing was found, or not everything is done yet: run it again
  4  the person has not agreed; nothing was closed
  5  another seed, network or data directory than this
  6  the network or the chain source does not answer, or cannot be listened on
  7  an alarm: the channel state that was given to push is older than a backup
  8  all is done, and not everything came: keep the data directory";

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.verbose {
        output::log_to_standard_error();
    }
    let output = Output::new(cli.json);
    let result = match cli.command {
        Command::Retrieve(args) => retrieve::run(&args, &output),
        Command::Recover(args) => recover::run(&args, &output),
        Command::Push(args) => push::run(&args, &output),
        Command::Serve(args) => serve::run(&args, &output),
        Command::Inspect(args) => inspect::run(&args, &output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failed(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// What a command comes to.
type Outcome<T = ()> = Result<T, Failure>;
