//! What a policy's rules call, looked through before anything is evaluated.
//!
//! One idea: Rego knows no recursion, but the library finds it only among rules without arguments, and then while it
//! evaluates; a function that calls itself would end the process. So rules that lead back to themselves, or that stand on
//! too many others, are refused here, and so is whatever nests so deeply that it takes ages to be read. Must never evaluate.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Greatest nesting of brackets: the library's parser tries each level in two ways.
const MAX_NESTING: usize = 12;
/// Most rules that stand on each other. The stack of whoever evaluates has room for them.
const MAX_DEPTH: usize = 64;

/// Refuses a text that takes too long to be read.
pub(super) fn check_nesting(rego: &str) -> Result<(), String> {
    let (mut depth, mut letters) = (0_usize, rego.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            '#' => drop(letters.by_ref().find(|letter| *letter == '\n')),
            '`' => drop(letters.by_ref().find(|letter| *letter == '`')),
            '"' => {
                while let Some(letter) = letters.next() {
                    match letter {
                        '\\' => drop(letters.next()),
                        // A text in quotes ends with its line.
                        '"' | '\n' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        if depth > MAX_NESTING {
            return Err(format!("its brackets nest more than {MAX_NESTING} deep"));
        }
    }
    Ok(())
}

/// Refuses rules that lead back to themselves. `tree`: the library's syntax tree of a policy.
pub(super) fn check(tree: &str) -> Result<(), String> {
    let tree: Value = serde_json::from_str(tree).map_err(|_| "its expressions nest too deeply".to_owned())?;
    let mut rules = Rules::default();
    for module in tree.as_array().into_iter().flatten() {
        rules.add(module)?;
    }
    let mut depths = BTreeMap::new();
    for name in rules.calls.keys() {
        rules.depth(name, &mut Vec::new(), &mut depths)?;
    }
    Ok(())
}

/// Rules by name, with the names that they mention.
#[derive(Default)]
struct Rules<'a> {
    calls: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Rules<'a> {
    fn add(&mut self, module: &'a Value) -> Result<(), String> {
        let text = module["source"]["contents"].as_str().unwrap_or_default();
        let tree = &module["ast"];
        let mut roots = BTreeSet::from(["data"]);
        for import in tree["imports"].as_array().into_iter().flatten() {
            let path = Path::of(&import["refr"]);
            if path.base == Some("data") {
                let place = |end: &str| import["as"][end].as_u64().and_then(|at| usize::try_from(at).ok());
                let alias = place("start")
                    .zip(place("end"))
                    .and_then(|(start, end)| text.get(start..end));
                roots.extend(alias.or(path.fields.last().copied()));
            }
        }
        for rule in tree["rules"].as_array().into_iter().flatten() {
            let Some(rule) = rule.as_object().and_then(|rule| rule.values().next()) else {
                continue;
            };
            // What a default is for stands in the rule itself, everything else in its head.
            let head = rule["head"]
                .as_object()
                .and_then(|head| head.values().next())
                .unwrap_or(rule);
            let path = Path::of(&head["refr"]);
            let Some(name) = path.base else {
                return Err("a rule of it has no name".to_owned());
            };
            let mut found = Found {
                own: name,
                roots: &roots,
                names: BTreeSet::new(),
                strange: false,
            };
            for index in path.indices {
                found.visit(index);
            }
            for (key, part) in head.as_object().into_iter().flatten() {
                if key != "refr" {
                    found.visit(part);
                }
            }
            found.visit(&rule["bodies"]);
            if found.strange {
                return Err("'with' replaces something other than the input".to_owned());
            }
            self.calls.entry(name).or_default().append(&mut found.names);
        }
        Ok(())
    }

    /// How many rules stand on each other below this one.
    fn depth(
        &self,
        name: &'a str,
        path: &mut Vec<&'a str>,
        known: &mut BTreeMap<&'a str, usize>,
    ) -> Result<usize, String> {
        let Some(calls) = self.calls.get(name) else {
            return Ok(0);
        };
        if path.contains(&name) {
            return Err(format!("recursion: rule '{name}' leads back to itself"));
        }
        if let Some(depth) = known.get(name) {
            return Ok(*depth);
        }
        path.push(name);
        let mut deepest = 0;
        if path.len() <= MAX_DEPTH {
            for call in calls {
                deepest = deepest.max(self.depth(call, path, known)?);
            }
        }
        if path.len() + deepest > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} rules stand on each other"));
        }
        path.pop();
        known.insert(name, deepest + 1);
        Ok(deepest + 1)
    }
}

/// `a.b["c"][d]`: where it begins, the names on it, and whatever stands in its brackets.
#[derive(Default)]
struct Path<'a> {
    base: Option<&'a str>,
    fields: Vec<&'a str>,
    indices: Vec<&'a Value>,
}

impl<'a> Path<'a> {
    fn of(mut node: &'a Value) -> Self {
        let mut path = Self::default();
        loop {
            if let Some(dot) = node.get("RefDot") {
                path.fields.extend(dot["field"][1].as_str());
                node = &dot["refr"];
            } else if let Some(brackets) = node.get("RefBrack") {
                let index = &brackets["index"];
                path.fields.extend(index["String"]["value"].as_str());
                path.indices.push(index);
                node = &brackets["refr"];
            } else {
                path.base = node["Var"]["value"].as_str();
                if path.base.is_none() {
                    path.indices.push(node);
                }
                path.fields.reverse();
                return path;
            }
        }
    }
}

/// Names that an expression mentions, as far as they can be rules.
struct Found<'a, 'r> {
    /// The rule whose expression it is. Variables may have its name; that it uses itself without arguments is found by the
    /// library.
    own: &'a str,
    /// `data` and what was imported from below it.
    roots: &'r BTreeSet<&'a str>,
    names: BTreeSet<&'a str>,
    strange: bool,
}

impl<'a> Found<'a, '_> {
    fn visit(&mut self, node: &'a Value) {
        match node {
            Value::Array(parts) => parts.iter().for_each(|part| self.visit(part)),
            Value::Object(parts) => {
                if ["RefDot", "RefBrack", "Var"].iter().any(|key| parts.contains_key(*key)) {
                    return self.path(node, false);
                }
                if let Some(call) = parts.get("Call") {
                    self.path(&call["fcn"], true);
                    return self.visit(&call["params"]);
                }
                for (key, part) in parts {
                    if key == "with_mods" {
                        let targets = part.as_array().into_iter().flatten();
                        self.strange |= targets
                            .map(|one| Path::of(&one["refr"]).base)
                            .any(|base| base != Some("input"));
                    }
                    self.visit(part);
                }
            }
            _ => {}
        }
    }

    fn path(&mut self, node: &'a Value, calls: bool) {
        let path = Path::of(node);
        let rooted = path.base.is_some_and(|base| self.roots.contains(base));
        let fields = path.fields.into_iter().filter(|_| rooted);
        let names = path.base.into_iter().chain(fields);
        self.names.extend(names.filter(|name| calls || *name != self.own));
        path.indices.into_iter().for_each(|index| self.visit(index));
    }
}
