//! Other processes of this program, spoken to in lines over their standard input and output.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A process that does what it is told, a line at a time. Killed when dropped; it also ends by
/// itself when this process is gone, since its input ends.
pub struct Process {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Process {
    /// Starts this program in another role.
    pub fn start(args: &[&str]) -> Process {
        let program = std::env::current_exe().expect("the path of this program");
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let to = child.stdin.take().expect("its input");
        let from = BufReader::new(child.stdout.take().expect("its output"));
        Process { child, to, from }
    }

    /// Its number in the operating system.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says, in words.
    pub fn hear(&mut self) -> Vec<String> {
        let mut line = String::new();
        let read = self.from.read_line(&mut line).expect("a line");
        assert!(read > 0, "process {} ended too early", self.child.id());
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// Tells it to do something, and returns its answer.
    pub fn ask(&mut self, line: &str) -> Vec<String> {
        writeln!(self.to, "{line}").expect("the process listens");
        self.hear()
    }

    /// Tells it to end, and waits until it has.
    pub fn end(mut self) {
        writeln!(self.to, "end").expect("the process listens");
        let status = self.child.wait().expect("an exit status");
        assert!(status.success(), "a process has failed");
    }

    /// `kill -9`
    pub fn kill(mut self) {
        self.child.kill().expect("the process lives");
        self.child.wait().expect("an exit status");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
