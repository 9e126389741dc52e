//! The world: a process that is asked by lines of JSON.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Map, Value};

pub struct World {
    child: Child,
    asked: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    killed: bool,
}

impl World {
    pub fn start() -> World {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peer-storage-world"));
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        World {
            asked: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
            killed: false,
        }
    }

    /// Its answer, or what it says is wrong.
    pub fn ask(&mut self, command: &str, args: &Map<String, Value>) -> Result<Value, String> {
        let mut line = args.clone();
        line.insert("do".to_owned(), command.into());
        let asked = self.asked.as_mut().expect("it runs");
        writeln!(asked, "{}", Value::Object(line)).unwrap();
        let answer = self.answers.next().expect("an answer").unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        match answer["ok"] {
            Value::Bool(true) => Ok(answer),
            _ => Err(answer["error"].to_string()),
        }
    }
}

impl World {
    /// SIGKILL: it can end nothing itself.
    #[allow(dead_code, reason = "no scenario does so")]
    pub fn kill(mut self) {
        self.killed = true;
        self.child.kill().unwrap();
    }
}

impl Drop for World {
    /// It ends when nothing more can be asked.
    fn drop(&mut self) {
        self.asked = None;
        let ended = self.child.wait();
        if !std::thread::panicking() {
            let well = ended.unwrap().success() != self.killed;
            assert!(well, "the world has failed");
        }
    }
}
