//! A process that carries out steps and is killed: this test program again, told by the environment.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{json, Value};

use crate::stage::{Sight, Stage};
use crate::step;

/// Names the file that tells a child what to do.
const TOLD: &str = "SCENARIO_CHILD";

pub struct Child(std::process::Child);

impl Child {
    /// Returns when it has begun the last step.
    pub fn start(stage: &mut Stage, steps: Value) -> Child {
        let last = steps.as_array().expect("steps").len() - 1;
        let told = json!({
            "steps": steps,
            "home": stage.home,
            "variables": stage.variables,
            "start": stage.sight.start(),
            "channels": stage.sight.channels(),
            "tip": stage.sight.tip(),
        });
        let path = stage.home.join("child.json");
        std::fs::write(&path, told.to_string()).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["child_process", "--exact", "--nocapture"]);
        command.env(TOLD, path).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        let begun = lines.any(|line| line.ends_with(&format!("begin {last}")));
        assert!(begun, "the child has ended");
        Child(child)
    }

    /// `kill -9`
    pub fn kill(mut self) {
        let alive = self.0.try_wait().unwrap().is_none();
        assert!(alive, "the child has ended by itself");
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Does nothing where this process is not a child.
pub fn main() {
    let Some(path) = std::env::var_os(TOLD) else {
        return;
    };
    let told = std::fs::read_to_string(PathBuf::from(path)).unwrap();
    let mut told: Value = serde_json::from_str(&told).unwrap();
    let home: PathBuf = serde_json::from_value(told["home"].take()).unwrap();
    let mut stage = Stage::new("child", home);
    stage.variables = serde_json::from_value(told["variables"].take()).unwrap();
    stage.sight = Sight::Told(["start", "channels", "tip"].map(|what| told[what].take()));
    for (number, step) in step::steps(told["steps"].take()).iter().enumerate() {
        println!("begin {number}");
        stage.carry_out(step);
    }
    // Until the parent is gone, or has killed this.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    // What is open stays so.
    std::process::exit(0);
}
