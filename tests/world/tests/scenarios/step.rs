//! A scenario as it stands in its file.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

pub struct Scenario {
    pub name: String,
    pub steps: Vec<Step>,
}

/// See `tests/scenarios/README.md`.
#[derive(Clone)]
pub struct Step {
    pub call: String,
    pub on: String,
    pub args: Map<String, Value>,
    pub expect: Option<Value>,
    pub until: Option<Value>,
    pub between: Option<Box<Step>>,
    pub fails: Option<Value>,
    pub save: BTreeMap<String, String>,
    /// As it stands in the file, for messages.
    pub text: String,
}

impl Scenario {
    #[track_caller]
    pub fn read(path: &Path) -> Scenario {
        let text = std::fs::read_to_string(path).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let mut file = object(file);
        let name = text_of(file.remove("name"));
        assert_eq!(path.file_stem().unwrap(), &*name, "the name is the file's");
        assert!(!text_of(file.remove("comment")).is_empty());
        let steps = steps(file.remove("steps").unwrap());
        assert!(file.is_empty(), "{path:?}: {file:?}");
        Scenario { name, steps }
    }
}

pub fn steps(list: Value) -> Vec<Step> {
    let Value::Array(list) = list else {
        panic!("no list of steps: {list}");
    };
    list.into_iter().map(Step::read).collect()
}

impl Step {
    fn read(step: Value) -> Step {
        let text = step.to_string();
        let mut args = object(step);
        let call = text_of(args.remove("do"));
        let on = args
            .remove("on")
            .map_or("phone".to_owned(), |on| text_of(Some(on)));
        let saved = args.remove("save").map(object).unwrap_or_default();
        let between = args.remove("between").map(Step::read);
        args.remove("note");
        let step = Step {
            call,
            on,
            expect: args.remove("expect"),
            until: args.remove("until"),
            between: between.map(Box::new),
            fails: args.remove("fails"),
            save: saved
                .into_iter()
                .map(|(k, v)| (k, text_of(Some(v))))
                .collect(),
            args,
            text,
        };
        assert!(
            step.between.is_none() || step.until.is_some(),
            "{}",
            step.text
        );
        step
    }

    /// With values in the place of variables.
    pub fn with(&self, variables: &BTreeMap<String, Value>) -> Step {
        let mut step = self.clone();
        for value in step.args.values_mut() {
            fill_in(value, variables);
        }
        for value in [&mut step.expect, &mut step.until, &mut step.fails] {
            value.iter_mut().for_each(|value| fill_in(value, variables));
        }
        step
    }
}

fn fill_in(value: &mut Value, variables: &BTreeMap<String, Value>) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix('$') {
                let known = variables.get(name);
                *value = known
                    .unwrap_or_else(|| panic!("no variable {name}"))
                    .clone();
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| fill_in(value, variables)),
        Value::Object(map) => map.values_mut().for_each(|value| fill_in(value, variables)),
        _ => {}
    }
}

/// Why an answer does not fit; none: it does.
pub fn misfit(wanted: &Value, answer: &Value) -> Option<String> {
    match (wanted, answer) {
        (Value::Object(wanted), Value::Object(answer)) => {
            wanted
                .iter()
                .find_map(|(key, wanted)| match answer.get(key) {
                    None => Some(format!("{key} is missing")),
                    Some(answer) => misfit(wanted, answer).map(|why| format!("{key}: {why}")),
                })
        }
        _ if wanted == answer => None,
        _ => Some(format!("{answer} in place of {wanted}")),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("no object: {other}"),
    }
}

fn text_of(value: Option<Value>) -> String {
    match value {
        Some(Value::String(text)) => text,
        other => panic!("no text: {other:?}"),
    }
}
