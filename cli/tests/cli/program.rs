//! Runs the program, and reads what it writes.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{channel, Receiver};

use bitcoin::hex::DisplayHex;
use serde_json::Value;
use testkit::DEADLINE;

use crate::documented::assert_documented;
use crate::killing::{self, Moment};

/// The program with these arguments, and nothing to read.
pub fn program<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer-storage"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ended {
    Ended::from(program(args).output().unwrap())
}

/// What a run came to.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            code: output.status.code().expect("it was not killed"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    #[track_caller]
    pub fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// All lines of a run with `--json`: each has to be an object that is documented.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let events = self.stdout.lines().map(serde_json::from_str);
        let events: Result<Vec<Value>, _> = events.collect();
        let events = events.unwrap_or_else(|e| panic!("{e} in {}", self.stdout));
        events.iter().for_each(assert_documented);
        events
    }

    #[track_caller]
    pub fn event(&self, name: &str) -> Value {
        let events = self.events();
        let found = events.into_iter().find(|event| event["event"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {}\n{}", self.stdout, self.stderr))
    }
}

/// A run that goes on. Killed when it is dropped.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    pub fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Running {
        let mut command = program(args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines(child.stdout.take().unwrap());
        Running { child, lines }
    }

    /// The next line. None: it has ended.
    pub fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(_) => panic!("it said nothing for {DEADLINE:?}"),
        }
    }

    /// The next event of this name; others are passed over.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        let mut passed = Vec::new();
        while let Some(line) = self.line() {
            let event: Value = serde_json::from_str(&line).unwrap();
            assert_documented(&event);
            if event["event"] == name {
                return event;
            }
            passed.push(line);
        }
        let mut stderr = String::new();
        let _ = self
            .child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr);
        panic!("it ended without {name}: {passed:#?}\n{stderr}");
    }

    /// SIGKILL. When it was.
    pub fn kill(mut self) -> Moment {
        killing::kill(&mut self.child)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, as `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([format!("-{name}"), pid])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Its exit code.
    pub fn ended(mut self) -> i32 {
        self.child
            .wait()
            .unwrap()
            .code()
            .expect("it was not killed")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// A file with a seed, in hex.
pub fn seed_file(dir: &Path, name: &str, seed: &[u8; 32]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, format!("{}\n", seed.to_lower_hex_string())).unwrap();
    path
}

/// A list of arguments from words and things that can be shown.
#[macro_export]
macro_rules! args {
    ($($arg:expr),* $(,)?) => {
        vec![$(format!("{}", $arg)),*]
    };
}
