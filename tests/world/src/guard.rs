//! A process between the world and a program that it starts, so that the program ends with the world, however
//! that ends: also when it is killed, and can end nothing itself any more.
//!
//! The guard reads orders from its standard input, which only the world can write to. Where that is closed, the
//! world is gone. It ends with the program, and by its own child alone: no other process can be meant.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The argument that makes this program a guard. Behind it stands the command line of what is guarded.
pub const GUARD: &str = "guard";

const STOP: &str = "stop";
const KILL: &str = "kill";

/// How often it looks whether the program has ended.
const LOOK: Duration = Duration::from_millis(10);
/// The exit code for a program that was killed, as shells have it.
const KILLED: u8 = 128 + 9;

/// A program that ends with this process.
pub struct Guarded {
    guard: Child,
    orders: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Guarded {
    pub fn start(program: &Path, args: &[OsString]) -> Guarded {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(GUARD).arg(program).args(args);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut guard = pipes.spawn().expect("a process");
        let lines = BufReader::new(guard.stdout.take().expect("a pipe")).lines();
        Guarded {
            orders: guard.stdin.take(),
            guard,
            lines,
        }
    }

    /// The next line of the program. None: it has ended.
    pub fn line(&mut self) -> Option<String> {
        self.lines.next()?.ok()
    }

    /// SIGTERM: it ends in its own way.
    pub fn stop(mut self) {
        let code = self.order(STOP);
        assert_eq!(code, Some(0), "it did not end well");
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        let code = self.order(KILL);
        assert_eq!(code, Some(i32::from(KILLED)), "it had ended by itself");
    }

    /// The exit code then.
    fn order(&mut self, order: &str) -> Option<i32> {
        let mut orders = self.orders.take().expect("no order before");
        writeln!(orders, "{order}").expect("it had ended by itself");
        let ended = self.guard.wait();
        ended.expect("a child").code()
    }
}

impl Drop for Guarded {
    /// Without orders it kills the program.
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.guard.wait();
    }
}

/// The guard itself.
pub fn main(mut command: impl Iterator<Item = OsString>) -> ExitCode {
    let program = command.next().expect("a program");
    let mut program = Command::new(program);
    let program = program.args(command).stdin(Stdio::null()).spawn();
    let program = Arc::new(Mutex::new(program.expect("a process")));
    let ordered = Arc::clone(&program);
    thread::spawn(move || {
        let order = std::io::stdin().lines().next();
        match order {
            Some(Ok(order)) if order == STOP => terminate(&ordered),
            // It says so, or it is gone.
            _ => {
                let _ = with(&ordered, Child::kill);
            }
        }
    });
    loop {
        match with(&program, Child::try_wait) {
            Ok(Some(status)) => return code(status),
            _ => thread::sleep(LOOK),
        }
    }
}

/// By its id, while that is taken: it is waited for under the same lock.
fn terminate(program: &Mutex<Child>) {
    with(program, |program| {
        if let Ok(None) = program.try_wait() {
            let id = program.id().to_string();
            // The shell's own: not every small system has a program for it.
            let told = Command::new("sh")
                .args(["-c", "kill -TERM \"$0\"", &id])
                .status();
            if !told.is_ok_and(|told| told.success()) {
                let _ = program.kill();
            }
        }
    });
}

fn with<R>(program: &Mutex<Child>, act: impl FnOnce(&mut Child) -> R) -> R {
    act(&mut program.lock().unwrap_or_else(PoisonError::into_inner))
}

fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.unwrap_or(KILLED).into()
}
