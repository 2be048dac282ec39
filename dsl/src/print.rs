//! Checked expressions as text, as an author would write them: for explanations, plans and messages.

use std::fmt::{self, Display, Formatter, Write};

use crate::hir::*;
use crate::text::moment;

/// Elements of a list that are shown; the rest is counted.
const SHOWN: usize = 8;

impl Display for Const {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Const::Bool(value) => write!(f, "{value}"),
            Const::Number(value) => write!(f, "{value}"),
            Const::Text(value) => quoted(f, value),
            Const::Time(value) => write!(f, "time(\"{}\")", moment::to_rfc3339(*value)),
            Const::Duration(value) => duration(f, *value),
            Const::Ip(value) => write!(f, "ip(\"{value}\")"),
            Const::Cidr(value) => write!(f, "cidr(\"{value}\")"),
            Const::List(values) => {
                f.write_char('[')?;
                list(f, values.get(..SHOWN).unwrap_or(values))?;
                if values.len() > SHOWN {
                    write!(f, ", … {} more", values.len() - SHOWN)?;
                }
                f.write_char(']')
            }
        }
    }
}

/// A text as a literal.
pub(crate) fn quoted(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    literal(f, text)?;
    f.write_char('"')
}

fn literal(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '{' => f.write_str("{{")?,
            '}' => f.write_str("}}")?,
            c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    Ok(())
}

/// The largest unit that divides a span of time, as an author would write it.
fn duration(f: &mut Formatter<'_>, micros: i64) -> fmt::Result {
    const UNITS: [(i64, &str); 6] = [
        (604_800_000_000, "w"),
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1_000, "ms"),
    ];
    match UNITS.into_iter().find(|(size, _)| micros != 0 && micros % size == 0) {
        Some((size, unit)) => write!(f, "{}{unit}", micros / size),
        None if micros == 0 => f.write_str("0s"),
        None => write!(f, "{}ms", crate::number::Number::from_billionths(i128::from(micros) * 1_000_000)),
    }
}

fn list<T: Display>(f: &mut Formatter<'_>, values: &[T]) -> fmt::Result {
    for (number, value) in values.iter().enumerate() {
        if number > 0 {
            f.write_str(", ")?;
        }
        Display::fmt(value, f)?;
    }
    Ok(())
}

fn joined(f: &mut Formatter<'_>, parts: &[Expr], word: &str) -> fmt::Result {
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            write!(f, " {word} ")?;
        }
        operand(f, part)?;
    }
    Ok(())
}

/// Puts brackets around whatever is not obviously one thing.
fn operand(f: &mut Formatter<'_>, expr: &Expr) -> fmt::Result {
    let simple = matches!(
        expr.kind,
        ExprKind::Const(_)
            | ExprKind::Field(_)
            | ExprKind::Param(_)
            | ExprKind::Risk
            | ExprKind::Var(_)
            | ExprKind::Member(..)
            | ExprKind::Item(..)
            | ExprKind::Call(..)
            | ExprKind::TimePart(..)
            | ExprKind::Memory(_)
            | ExprKind::Join(_)
            | ExprKind::Take(_)
    );
    let bare = matches!(
        expr.kind,
        ExprKind::Compare(..)
            | ExprKind::Between(..)
            | ExprKind::In(..)
            | ExprKind::InPatterns(..)
            | ExprKind::InAs(..)
            | ExprKind::Has(..)
            | ExprKind::TextTest(..)
            | ExprKind::Like(..)
            | ExprKind::Matches(..)
            | ExprKind::Present(_)
            | ExprKind::Lenient { .. }
    );
    if simple || bare {
        return Display::fmt(expr, f);
    }
    f.write_char('(')?;
    Display::fmt(expr, f)?;
    f.write_char(')')
}

/// The last part of `policy.name`.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn binary(f: &mut Formatter<'_>, left: &Expr, word: &str, right: &Expr) -> fmt::Result {
    operand_of_test(f, left)?;
    write!(f, " {word} ")?;
    operand_of_test(f, right)
}

/// Inside a test, another test needs brackets even where a chain of `and` would not.
fn operand_of_test(f: &mut Formatter<'_>, expr: &Expr) -> fmt::Result {
    if expr.ty == crate::types::Type::Bool
        && !expr.children().is_empty()
        && !matches!(expr.kind, ExprKind::Take(_) | ExprKind::Member(..))
    {
        f.write_char('(')?;
        Display::fmt(expr, f)?;
        return f.write_char(')');
    }
    operand(f, expr)
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Const(value) => write!(f, "{value}"),
            ExprKind::Field(field) => f.write_str(field.def().name),
            ExprKind::Param(name) => f.write_str(short(name)),
            ExprKind::Risk => f.write_str("risk"),
            ExprKind::Var(var) => f.write_str(&var.name),
            ExprKind::Member(base, name) => {
                operand(f, base)?;
                if name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) && !name.is_empty() {
                    write!(f, ".{name}")
                } else {
                    f.write_char('[')?;
                    quoted(f, name)?;
                    f.write_char(']')
                }
            }
            ExprKind::Item(base, index) => {
                operand(f, base)?;
                f.write_char('[')?;
                Display::fmt(index, f)?;
                f.write_char(']')
            }
            ExprKind::Take(inner) => Display::fmt(inner, f),
            ExprKind::Not(inner) => {
                f.write_str("not ")?;
                operand(f, inner)
            }
            ExprKind::And(parts) => joined(f, parts, "and"),
            ExprKind::Or(parts) => joined(f, parts, "or"),
            ExprKind::Compare(comparison, left, right) => binary(f, left, comparison.symbol(), right),
            ExprKind::Between(x, low, high) => {
                binary(f, x, "in", low)?;
                f.write_str("..")?;
                operand(f, high)
            }
            ExprKind::In(x, xs) => binary(f, x, "in", xs),
            ExprKind::InPatterns(x, patterns) => {
                operand_of_test(f, x)?;
                write!(f, " in {}", short(&patterns.name))
            }
            ExprKind::InAs(x, xs, kind) => {
                binary(f, x, "in", xs)?;
                write!(f, " as {}", kind.name())
            }
            ExprKind::Has(HasTest::One, xs, x) => binary(f, xs, "has", x),
            ExprKind::Has(HasTest::Any, xs, ys) => binary(f, xs, "has any", ys),
            ExprKind::Has(HasTest::All, xs, ys) => binary(f, xs, "has all", ys),
            ExprKind::TextTest(test, left, right) => binary(f, left, test.word(), right),
            ExprKind::Like(x, pattern) => {
                operand_of_test(f, x)?;
                f.write_str(" like ")?;
                quoted(f, pattern)
            }
            ExprKind::Matches(x, pattern, ignore_case) => {
                operand_of_test(f, x)?;
                write!(f, " matches /{}/{}", pattern.replace('/', "\\/"), if *ignore_case { "i" } else { "" })
            }
            ExprKind::Present(inner) => {
                f.write_str("has ")?;
                operand(f, inner)
            }
            ExprKind::Otherwise(x, default) => {
                operand(f, x)?;
                f.write_str(" else ")?;
                operand(f, default)
            }
            ExprKind::Lenient { test, soft, .. } => lenient(f, test, soft),
            ExprKind::Quantified(quantifier, var, xs, body) => {
                write!(f, "{} {} in ", quantifier.word(), var.name)?;
                Display::fmt(xs, f)?;
                f.write_str(": ")?;
                Display::fmt(body, f)
            }
            ExprKind::Negative(inner) => {
                f.write_char('-')?;
                operand(f, inner)
            }
            ExprKind::Arithmetic(operator, left, right) => {
                operand(f, left)?;
                write!(f, " {} ", operator.sign())?;
                operand(f, right)
            }
            ExprKind::If(condition, then, otherwise) => {
                f.write_str("if ")?;
                operand(f, condition)?;
                f.write_str(" then ")?;
                operand(f, then)?;
                f.write_str(" else ")?;
                operand(f, otherwise)
            }
            ExprKind::Join(pieces) => {
                f.write_char('"')?;
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => literal(f, text)?,
                        Piece::Value(value) => {
                            f.write_char('{')?;
                            Display::fmt(value, f)?;
                            f.write_char('}')?;
                        }
                    }
                }
                f.write_char('"')
            }
            ExprKind::Call(builtin, arguments) => {
                write!(f, "{}(", builtin.name())?;
                list(f, arguments)?;
                f.write_char(')')
            }
            ExprKind::Zoned(time, zone) => {
                operand(f, time)?;
                write!(f, " in tz \"{zone}\"")
            }
            ExprKind::Memory(ask) => memory(f, ask),
            ExprKind::TimePart(part, time, zone) => {
                match zone {
                    Some(zone) => write!(f, "({time} in tz \"{zone}\")")?,
                    None => operand(f, time)?,
                }
                f.write_str(match part {
                    TimePart::Hour => ".hour",
                    TimePart::Weekday => ".weekday",
                })
            }
        }
    }
}

fn memory(f: &mut Formatter<'_>, ask: &Ask) -> fmt::Result {
    let memory = &ask.memory;
    write!(f, "{}(", memory.operator.name())?;
    for (number, part) in memory.parts.iter().enumerate() {
        if number > 0 {
            f.write_str(" then ")?;
        }
        Display::fmt(part, f)?;
    }
    if let Some(part) = &memory.since {
        write!(f, " since {part}")?;
    }
    for (number, (key, asked)) in memory.keys.iter().zip(&ask.keys).enumerate() {
        f.write_str(if number == 0 { " per " } else { ", " })?;
        if key.each {
            f.write_str("each ")?;
        }
        write!(f, "{}", key.expr)?;
        if key.expr != *asked {
            write!(f, " = {asked}")?;
        }
    }
    if memory.keys.is_empty() {
        f.write_str(" per org")?;
    }
    match &memory.within {
        None => {}
        Some(Within::Time(micros)) => {
            f.write_str(" within ")?;
            duration(f, *micros)?;
        }
        Some(Within::Param(name, _)) => write!(f, " within {}", short(name))?,
        Some(Within::Events(count)) => write!(f, " within {count} events")?,
    }
    if let Some(part) = &memory.until {
        write!(f, " until {part}")?;
    }
    f.write_char(')')
}

impl Display for MemoryPart {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.became.prefix())?;
        for (number, kind) in self.kinds.iter().enumerate() {
            if number > 0 {
                f.write_char('|')?;
            }
            f.write_str(kind.name())?;
        }
        if let Some(value) = &self.value {
            write!(f, ".{value}")?;
        }
        if let Some(filter) = &self.filter {
            write!(f, " where {filter}")?;
        }
        Ok(())
    }
}

/// A lenient test as written: `?` behind the operands that had it.
fn lenient(f: &mut Formatter<'_>, test: &Expr, soft: &[Expr]) -> fmt::Result {
    let mut text = test.to_string();
    for operand in soft {
        let plain = operand.to_string();
        if let Some(at) = text.find(&plain) {
            text.insert(at + plain.len(), '?');
        }
    }
    f.write_str(&text)
}
