//! The bindings in Kotlin, on a JVM: a program that is asked by lines, and answers with nanoseconds.
//! (android/src/test/kotlin/org/peerstorage/figures)

use std::env;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::keepers::Keepers;
use crate::Side;

pub struct JvmSide {
    child: Child,
    asks: ChildStdin,
    says: Lines<BufReader<ChildStdout>>,
}

impl JvmSide {
    /// None: there is no such program.
    pub fn start(dir: &Path, seed: u8, keepers: &Keepers) -> Option<JvmSide> {
        let arguments = env::var_os("PEER_STORAGE_JVM")?;
        let peers = keepers.peers().map(|(id, addr)| format!("{id}@{addr}"));
        let mut child = Command::new("java")
            .arg(arguments)
            .arg(dir)
            .arg(format!("{seed:02x}").repeat(32))
            .args(peers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`java` starts");
        let asks = child.stdin.take().unwrap();
        let says = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut side = JvmSide { child, asks, says };
        side.ask("open");
        Some(side)
    }

    fn ask(&mut self, what: &str) -> Vec<Duration> {
        writeln!(self.asks, "{what}").expect("the JVM's program runs");
        let answer = self.says.next().expect("the JVM's program runs").unwrap();
        let times = answer.split_whitespace().map(|nanos| {
            let nanos = nanos.parse().unwrap_or_else(|_| panic!("{answer}"));
            Duration::from_nanos(nanos)
        });
        times.collect()
    }
}

impl Side for JvmSide {
    fn name(&self) -> &'static str {
        "bindings, from the JVM"
    }

    fn open(&mut self) -> Duration {
        self.ask("open")[0]
    }

    fn resume(&mut self) {
        self.ask("resume");
    }

    fn change(&mut self, data: Vec<u8>) {
        let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        self.ask(&format!("change {hex}"));
    }

    fn push(&mut self) -> Duration {
        self.ask("push")[0]
    }

    fn calls(&mut self) -> Option<[Duration; 3]> {
        self.ask("calls").try_into().ok()
    }
}

impl Drop for JvmSide {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
