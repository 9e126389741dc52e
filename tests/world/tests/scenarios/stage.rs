//! Carries the steps of a scenario out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{json, Map, Value};

use crate::answer::Names;
use crate::calls;
use crate::child::Child;
use crate::device::{nothing, wait, Args, Device, Outcome};
use crate::step::{misfit, Scenario, Step};
use crate::world::World;

/// How long a step is tried again.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(50);

/// Everything that a scenario takes place on. Devices are let go of before the world ends.
pub struct Stage {
    pub devices: BTreeMap<String, Device>,
    pub child: Option<Child>,
    pub sight: Sight,
    pub variables: BTreeMap<String, Value>,
    pub home: PathBuf,
    name: String,
}

/// How the world is seen.
pub enum Sight {
    /// It was not started.
    None,
    /// By asking it, with the answer to `start`.
    World(World, Value),
    /// A child has what its parent was told: the answer to `start`, to `channels`, and to `tip`.
    Told([Value; 3]),
}

impl Sight {
    pub fn start(&self) -> &Value {
        match self {
            Sight::None => panic!("world.start comes first"),
            Sight::World(_, start) | Sight::Told([start, ..]) => start,
        }
    }

    pub fn channels(&mut self) -> Value {
        self.look("channels", 1)
    }

    pub fn tip(&mut self) -> Value {
        self.look("tip", 2)
    }

    fn look(&mut self, command: &str, told: usize) -> Value {
        match self {
            Sight::None => panic!("world.start comes first"),
            Sight::World(world, _) => world.ask(command, &Map::new()).unwrap(),
            Sight::Told(answers) => answers[told].clone(),
        }
    }

    /// Names of peers by their node ids.
    pub fn names(&self) -> Names {
        let peers = self.start()["peers"].as_object().unwrap().iter();
        let id = |peer: &Value| peer["node_id"].as_str().unwrap().to_owned();
        peers.map(|(name, peer)| (id(peer), name.clone())).collect()
    }
}

pub fn play(scenario: &Scenario) {
    let home = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(&scenario.name, home.path().to_owned());
    for (number, step) in scenario.steps.iter().enumerate() {
        let begun = Instant::now();
        stage.carry_out(step);
        let took = begun.elapsed().as_millis();
        println!("step {number}, {took} ms: {}", step.text);
    }
    stage.end();
}

impl Stage {
    pub fn new(name: &str, home: PathBuf) -> Stage {
        Stage {
            devices: BTreeMap::new(),
            child: None,
            sight: Sight::None,
            variables: BTreeMap::new(),
            home,
            name: name.to_owned(),
        }
    }

    /// A step that does not go as it says is a failure of the test.
    pub fn carry_out(&mut self, step: &Step) {
        let step = step.with(&self.variables);
        let begun = Instant::now();
        let outcome = loop {
            let outcome = self.call(&step);
            let (Some(until), Ok(answer)) = (&step.until, &outcome) else {
                break outcome;
            };
            let Some(why) = misfit(until, answer) else {
                break outcome;
            };
            assert!(
                begun.elapsed() < PATIENCE,
                "{}\n{why} in {answer}",
                step.text
            );
            if let Some(between) = &step.between {
                self.carry_out(between);
            }
            std::thread::sleep(PAUSE);
        };
        let (wanted, told) = match (&step.fails, outcome) {
            (Some(fails), Err(error)) => (Some(fails), error),
            (None, Ok(answer)) => (step.expect.as_ref(), answer),
            (Some(_), Ok(answer)) => panic!("{}\ndoes not fail: {answer}", step.text),
            (None, Err(error)) => panic!("{}\nfails: {error}", step.text),
        };
        if let Some(why) = wanted.and_then(|wanted| misfit(wanted, &told)) {
            panic!("{}\n{why} in {told}", step.text);
        }
        for (variable, key) in &step.save {
            let value = told
                .get(key)
                .unwrap_or_else(|| panic!("no {key} in {told}"));
            self.variables.insert(variable.clone(), value.clone());
        }
    }

    fn call(&mut self, step: &Step) -> Outcome {
        let mut args = Args(step.args.clone());
        if let Some(command) = step.call.strip_prefix("world.") {
            return self.ask_world(command, args.0);
        }
        let outcome = match &*step.call {
            "child.start" => {
                self.child = Some(Child::start(self, args.take("steps").unwrap()));
                Ok(json!({}))
            }
            "child.kill" => {
                self.child.take().expect("a child").kill();
                Ok(json!({}))
            }
            call => calls::call(self, &step.on, call, &mut args),
        };
        assert!(args.0.is_empty(), "{}: unknown: {:?}", step.text, args.0);
        outcome
    }

    fn ask_world(&mut self, command: &str, mut args: Map<String, Value>) -> Outcome {
        let world_says = |error: String| json!({ "error": "world", "text": error });
        if command == "start" {
            args.insert("name".to_owned(), self.name.clone().into());
            let mut world = World::start();
            let answer = world.ask(command, &args).map_err(world_says)?;
            self.sight = Sight::World(world, answer.clone());
            return Ok(answer);
        }
        match &mut self.sight {
            Sight::World(world, _) => world.ask(command, &args).map_err(world_says),
            _ => panic!("there is no world to be asked for {command}"),
        }
    }

    /// Whatever is still open is closed, so that the next scenario is alone.
    fn end(mut self) {
        for device in self.devices.values_mut() {
            if let Some(storage) = device.let_go() {
                wait(storage.shutdown(20_000)).map(nothing).unwrap();
            }
        }
    }
}
