//! Prints the API of a library as it is seen from Kotlin and Swift, in an order that does not depend on the
//! source: `api-listing LIBRARY`. It is committed, so that a change of the API shows in review.

use std::collections::BTreeMap;
use std::process::ExitCode;

use uniffi_bindgen::macro_metadata::extract_from_bytes;
use uniffi_meta::{
    DefaultValueMetadata, EnumMetadata, FieldMetadata, FnParamMetadata, LiteralMetadata, Metadata,
    Type,
};

const HEAD: &str = "\
# The API as it is seen from Kotlin and Swift: cargo xtask bindings --api writes this, cargo xtask bindings
# checks it. `T?`: may be none. `[T]`: a list.
";

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: api-listing LIBRARY");
        return ExitCode::FAILURE;
    };
    match listing(&path) {
        Ok(listing) => {
            print!("{HEAD}{listing}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A heading, and the lines below it.
type Items = BTreeMap<String, Vec<String>>;

fn listing(path: &str) -> Result<String, String> {
    let library = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut all = extract_from_bytes(&library).map_err(|error| format!("{error:#}"))?;
    all.sort();
    let mut items = Items::new();
    let mut kinds = BTreeMap::new();
    for item in &all {
        if let Metadata::Object(object) = item {
            let kind = if object.imp.has_callback_interface() {
                "trait, implemented by the app:"
            } else {
                "object"
            };
            let heading = format!("{kind} {}", object.name);
            items.entry(heading.clone()).or_default();
            kinds.insert(object.name.clone(), heading);
        }
    }
    let mut of_object = |name: &String, line: String| {
        let heading = kinds.get(name).unwrap_or(name).clone();
        items.entry(heading).or_default().push(line);
    };
    let mut others = Items::new();
    for item in &all {
        match item {
            Metadata::Constructor(m) => {
                let call = call(
                    m.is_async,
                    "constructor",
                    &m.name,
                    &m.inputs,
                    None,
                    &m.throws,
                );
                of_object(&m.self_name, call);
            }
            Metadata::Method(m) => {
                let (name, returns) = (&m.name, m.return_type.as_ref());
                let call = call(m.is_async, "fun", name, &m.inputs, returns, &m.throws);
                of_object(&m.self_name, call);
            }
            Metadata::TraitMethod(m) => {
                let (name, returns) = (&m.name, m.return_type.as_ref());
                let call = call(m.is_async, "fun", name, &m.inputs, returns, &m.throws);
                of_object(&m.trait_name, call);
            }
            Metadata::Func(m) => {
                let (name, returns) = (&m.name, m.return_type.as_ref());
                let call = call(m.is_async, "fun", name, &m.inputs, returns, &m.throws);
                others.entry("functions".to_owned()).or_default().push(call);
            }
            Metadata::Record(record) => {
                let fields = record.fields.iter().map(field).collect();
                others.insert(format!("record {}", record.name), fields);
            }
            Metadata::Enum(of) => {
                let (heading, lines) = enumeration(of);
                others.insert(heading, lines);
            }
            Metadata::Object(_) | Metadata::Namespace(_) => {}
            other => return Err(format!("no rule for {other:?}")),
        }
    }
    items.append(&mut others);
    let mut text = String::new();
    for (heading, lines) in items {
        text += &format!("\n{heading}\n");
        for line in lines {
            text += &format!("    {line}\n");
        }
    }
    Ok(text)
}

fn enumeration(of: &EnumMetadata) -> (String, Vec<String>) {
    let kind = if of.shape.is_error() { "error" } else { "enum" };
    let variants = of.variants.iter().map(|variant| {
        let fields: Vec<_> = variant.fields.iter().map(field).collect();
        match fields.is_empty() {
            true => variant.name.clone(),
            false => format!("{}({})", variant.name, fields.join(", ")),
        }
    });
    (format!("{kind} {}", of.name), variants.collect())
}

fn call(
    is_async: bool,
    kind: &str,
    name: &str,
    inputs: &[FnParamMetadata],
    returns: Option<&Type>,
    throws: &Option<Type>,
) -> String {
    let is_async = if is_async { "async " } else { "" };
    let inputs: Vec<_> = inputs
        .iter()
        .map(|input| format!("{}: {}", input.name, shown(&input.ty)))
        .collect();
    let returns = returns.map_or(String::new(), |ty| format!(" -> {}", shown(ty)));
    let throws = throws
        .as_ref()
        .map_or(String::new(), |ty| format!(" throws {}", shown(ty)));
    format!(
        "{is_async}{kind} {name}({}){returns}{throws}",
        inputs.join(", ")
    )
}

fn field(field: &FieldMetadata) -> String {
    let default = match &field.default {
        None => String::new(),
        Some(DefaultValueMetadata::Default) => " = default".to_owned(),
        Some(DefaultValueMetadata::Literal(literal)) => format!(" = {}", value(literal)),
    };
    format!("{}: {}{default}", field.name, shown(&field.ty))
}

fn value(literal: &LiteralMetadata) -> String {
    match literal {
        LiteralMetadata::Boolean(value) => value.to_string(),
        LiteralMetadata::String(value) => format!("{value:?}"),
        LiteralMetadata::UInt(value, ..) => value.to_string(),
        LiteralMetadata::Int(value, ..) => value.to_string(),
        LiteralMetadata::Float(value, _) | LiteralMetadata::Enum(value, _) => value.clone(),
        LiteralMetadata::EmptySequence => "[]".to_owned(),
        LiteralMetadata::None => "none".to_owned(),
        other => format!("{other:?}"),
    }
}

fn shown(ty: &Type) -> String {
    match ty {
        Type::Optional { inner_type } => format!("{}?", shown(inner_type)),
        Type::Sequence { inner_type } => format!("[{}]", shown(inner_type)),
        Type::Object { name, .. }
        | Type::Record { name, .. }
        | Type::Enum { name, .. }
        | Type::CallbackInterface { name, .. }
        | Type::Custom { name, .. } => name.clone(),
        simple => format!("{simple:?}").to_lowercase(),
    }
}
