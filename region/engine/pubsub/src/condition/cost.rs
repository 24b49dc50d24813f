//! What an expression can cost over an event, before it is evaluated.
//!
//! One idea: how much work and how large a result each part of an expression can make follows from the sizes of what it
//! works on, so both are computed upwards, always as "at most". A loop costs its body once over everything and once over
//! nothing for each element: no other way to share out the same data costs more. A loop whose result grows faster than by
//! adding to it has no bound and is never evaluated. Must never say less than the evaluation can take.

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

/// How large a value is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Size {
    /// Values in it, itself among them.
    pub(crate) nodes: f64,
    /// Bytes of texts and names in it.
    pub(crate) bytes: f64,
}

const NONE: Size = Size { nodes: 0.0, bytes: 0.0 };
const ONE: Size = Size { nodes: 1.0, bytes: 0.0 };
const UNBOUNDED: f64 = f64::INFINITY;

impl Size {
    pub(crate) fn text(length: usize) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "an estimate")]
        let bytes = length as f64;
        Self { bytes, ..ONE }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            nodes: self.nodes + other.nodes,
            bytes: self.bytes + other.bytes,
        }
    }

    fn times(self, count: f64) -> Self {
        Self {
            nodes: self.nodes * count,
            bytes: self.bytes * count,
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            nodes: self.nodes.max(other.nodes),
            bytes: self.bytes.max(other.bytes),
        }
    }

    /// Looking at all of it once.
    fn work(self) -> f64 {
        self.nodes + self.bytes / 8.0
    }
}

/// What a part of an expression makes, and what that takes.
#[derive(Clone, Copy)]
struct Cost {
    size: Size,
    work: f64,
}

impl Cost {
    fn of(size: Size, work: f64) -> Self {
        Self { size, work }
    }
}

/// Names that are known where an expression stands, the innermost first.
struct Scope<'a> {
    name: &'a str,
    size: Size,
    outer: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    fn size(&self, name: &str) -> Size {
        if self.name == name {
            return self.size;
        }
        self.outer.map_or(ONE, |outer| outer.size(name))
    }

    fn with(&'a self, name: &'a str, size: Size) -> Scope<'a> {
        Scope {
            name,
            size,
            outer: Some(self),
        }
    }
}

/// The most work that an expression takes over an event.
pub(crate) fn work(expression: &IdedExpr, event: Size) -> f64 {
    let scope = Scope {
        name: "event",
        size: event,
        outer: None,
    };
    cost(expression, &scope).work
}

/// How deep loops are nested, chains of them among it; `None` when the expression itself is nested deeper than `levels`:
/// whoever looks into it calls itself as often.
pub(crate) fn loops(expression: &IdedExpr, levels: usize) -> Option<usize> {
    let levels = levels.checked_sub(1)?;
    let deepest = |parts: &mut dyn Iterator<Item = &IdedExpr>| {
        let depths: Option<Vec<usize>> = parts.map(|part| loops(part, levels)).collect();
        depths.map(|depths| depths.into_iter().max().unwrap_or_default())
    };
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Some(0),
        Expr::Call(call) => deepest(&mut call.target.as_deref().into_iter().chain(&call.args)),
        Expr::List(list) => deepest(&mut list.elements.iter()),
        Expr::Select(select) => loops(&select.operand, levels),
        Expr::Map(map) => deepest(&mut map.entries.iter().flat_map(|entry| parts(&entry.expr))),
        Expr::Struct(new) => deepest(&mut new.entries.iter().flat_map(|entry| parts(&entry.expr))),
        Expr::Comprehension(comprehension) => {
            let within = [
                &comprehension.accu_init,
                &comprehension.loop_cond,
                &comprehension.loop_step,
                &comprehension.result,
            ];
            let within = deepest(&mut within.into_iter())?;
            // A chain of loops multiplies like one inside of the other.
            Some(1 + within + loops(&comprehension.iter_range, levels)?)
        }
    }
}

fn parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

fn cost(expression: &IdedExpr, scope: &Scope<'_>) -> Cost {
    match &expression.expr {
        Expr::Unspecified => Cost::of(NONE, UNBOUNDED),
        Expr::Ident(name) => Cost::of(scope.size(name), 1.0),
        Expr::Literal(LiteralValue::String(text)) => Cost::of(Size::text(text.inner().len()), 1.0),
        Expr::Literal(LiteralValue::Bytes(bytes)) => Cost::of(Size::text(bytes.inner().len()), 1.0),
        Expr::Literal(_) => Cost::of(ONE, 1.0),
        Expr::Select(select) => {
            let operand = cost(&select.operand, scope);
            let size = if select.test { ONE } else { operand.size };
            Cost::of(size, operand.work + 1.0)
        }
        Expr::List(list) => built(list.elements.iter(), scope),
        Expr::Map(map) => built(map.entries.iter().flat_map(|entry| parts(&entry.expr)), scope),
        Expr::Struct(new) => built(new.entries.iter().flat_map(|entry| parts(&entry.expr)), scope),
        Expr::Call(call) => {
            let arguments = call.target.as_deref().into_iter().chain(&call.args);
            let arguments: Vec<Cost> = arguments.map(|argument| cost(argument, scope)).collect();
            called(&call.func_name, &arguments)
        }
        Expr::Comprehension(comprehension) => looped(comprehension, scope),
    }
}

/// A list or a map: its parts are copied into it.
fn built<'a>(parts: impl Iterator<Item = &'a IdedExpr>, scope: &Scope<'_>) -> Cost {
    parts.fold(Cost::of(ONE, 1.0), |all, part| {
        let part = cost(part, scope);
        Cost::of(all.size.and(part.size), all.work + part.work + part.size.work())
    })
}

/// Bytes of the longest text of a number.
const NUMBER: usize = 400;
/// What an expression of its own language takes to be read.
const PATTERN: f64 = 1000.0;

fn called(name: &str, arguments: &[Cost]) -> Cost {
    let all = arguments.iter().fold(Cost::of(NONE, 1.0), |all, one| {
        Cost::of(all.size.and(one.size), all.work + one.work)
    });
    let size = |at: usize| arguments.get(at).map_or(ONE, |argument| argument.size);
    let looked_at = all.work + all.size.work();
    match name {
        operators::CONDITIONAL => Cost::of(size(1).or(size(2)), all.work),
        operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE => {
            Cost::of(ONE, all.work)
        }
        operators::INDEX => Cost::of(size(0), all.work + size(1).work()),
        operators::ADD => Cost::of(all.size, looked_at),
        super::MATCHES => Cost::of(ONE, all.work + PATTERN + all.size.bytes * 8.0),
        operators::EQUALS | operators::NOT_EQUALS | operators::IN => Cost::of(ONE, looked_at),
        operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => {
            Cost::of(ONE, looked_at)
        }
        "size" | "startsWith" | "endsWith" | "contains" | "int" | "uint" | "double" | "bool" | "timestamp"
        | "duration" | "type" => Cost::of(ONE, looked_at),
        _ => Cost::of(all.size.and(Size::text(NUMBER)), looked_at),
    }
}

fn looped(comprehension: &ComprehensionExpr, scope: &Scope<'_>) -> Cost {
    let range = cost(&comprehension.iter_range, scope);
    let start = cost(&comprehension.accu_init, scope);
    let within = |part: &IdedExpr, element: Size, result: Size| {
        let scope = scope.with(&comprehension.accu_var, result);
        cost(part, &scope.with(&comprehension.iter_var, element))
    };
    let step = |element: Size, result: Size| within(&comprehension.loop_step, element, result);
    let (all, nothing) = (step(range.size, NONE), step(NONE, NONE));

    // By how much the result grows with itself.
    const PROBE: f64 = 1000.0;
    let probe = Size {
        nodes: PROBE,
        bytes: PROBE,
    };
    let probed = step(range.size, probe).size;
    let growth = ((probed.nodes - all.size.nodes) / PROBE).max((probed.bytes - all.size.bytes) / PROBE);
    let count = range.size.nodes;
    let result = if growth > 1.001 {
        return Cost::of(probed, UNBOUNDED);
    } else if growth > 0.0 {
        start.size.and(all.size).and(nothing.size.times(count))
    } else {
        start.size.or(all.size)
    };
    let going_on = |element: Size| within(&comprehension.loop_cond, element, ONE).work;
    let end = within(&comprehension.result, NONE, result);
    let once = all.work + going_on(range.size) + range.size.work();
    let each = nothing.work + going_on(NONE);
    let work = range.work + start.work + once + each * count + end.work + result.work();
    Cost::of(end.size, work)
}
