//! Parameters from outside: what a text says as a value of a type, and a policy's text with other values in it.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::ast::ItemKind;
use crate::hir::Const;
use crate::number::Number;
use crate::source::Source;
use crate::types::Type;

/// What a text says as a value of this type, written as in the language but for texts, which have no quotes; the values of
/// a list have commas between them. None if it says nothing of this type.
pub fn value_of(text: &str, ty: Type) -> Option<Const> {
    Some(match ty {
        Type::Number => Const::Number(text.replace('_', "").parse::<Number>().ok()?),
        Type::Bool => Const::Bool(text.parse().ok()?),
        Type::String => Const::Text(text.to_owned()),
        Type::List(element) => {
            let parts = text.split(',').filter(|part| !part.is_empty());
            Const::List(
                parts.map(|part| value_of(part.trim(), element.ty())).collect::<Option<Vec<_>>>()?.into(),
            )
        }
        Type::Duration => {
            let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let unit = match text.get(digits.len()..)? {
                "ms" => 1_000,
                "s" => 1_000_000,
                "m" => 60_000_000,
                "h" => 3_600_000_000,
                "d" => 86_400_000_000,
                "w" => 604_800_000_000,
                _ => return None,
            };
            Const::Duration(digits.parse::<Number>().ok()?.times(Number::whole(unit)).to_whole()?)
        }
        Type::Time | Type::Ip | Type::Cidr | Type::Json => return None,
    })
}

/// The text of a policy in which these parameters have these values unless somebody says otherwise. Nothing else of it
/// changes; what it has no parameter for is passed over.
pub fn with_values(source: &Source, values: &BTreeMap<String, Const>) -> String {
    let file = crate::parse::parse(0, source, &mut Vec::new());
    let mut text = String::with_capacity(source.text.len());
    let mut rest = 0;
    for item in &file.items {
        let ItemKind::Param(param) = &item.kind else { continue };
        let (Some(value), span) = (values.get(&param.name.value), param.default.span()) else { continue };
        text.push_str(source.text.get(rest..span.start as usize).unwrap_or_default());
        literal(&mut text, value);
        rest = span.end as usize;
    }
    text.push_str(source.text.get(rest..).unwrap_or_default());
    text
}

/// A value as the language writes it, whole.
fn literal(text: &mut String, value: &Const) {
    let Const::List(values) = value else {
        write!(text, "{value}").expect("memory takes writes");
        return;
    };
    text.push('[');
    for (place, value) in values.iter().enumerate() {
        text.push_str(if place > 0 { ", " } else { "" });
        literal(text, value);
    }
    text.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "/// Kept.\npolicy p {}\n\nparam cap: number = 1_000 in 0..9_000 \"The cap\" // as it is\n\
        param names: list<string> = [\n  \"a\",\n]\n  \"Names\"\nparam life: duration = 30d in 1h..365d\n\
        param on: bool = true\nrule r on intent { when on and amount > cap and action in names and age(intent) < life deny }\n";

    #[test]
    fn only_the_values_of_parameters_change() {
        let many: Vec<_> = (0..200).map(|number| Const::Text(format!("n{number} \"ä\\"))).collect();
        let values = BTreeMap::from([
            ("cap".to_owned(), Const::Number("2500.25".parse().unwrap())),
            ("names".to_owned(), Const::List(many.clone().into())),
            ("life".to_owned(), value_of("90m", Type::Duration).unwrap()),
            ("on".to_owned(), Const::Bool(false)),
            ("other".to_owned(), Const::Bool(false)),
        ]);
        let source = Source::new("p", TEXT);
        let text = with_values(&source, &values);
        let set = crate::load(vec![Source::new("p", text.clone())]).into_set().unwrap();
        for param in &set.policies[0].params {
            assert_eq!(param.value, values[&param.name], "{}", param.name);
        }
        // Back again it is as it was, but for how the values are spelled.
        let first = crate::load(vec![source]).into_set().unwrap();
        let before = first.policies[0].params.iter().map(|param| (param.name.clone(), param.value.clone()));
        let back = with_values(&Source::new("p", text), &before.collect());
        assert_eq!(back, TEXT.replace("1_000", "1000").replace("[\n  \"a\",\n]", "[\"a\"]"));
    }

    #[test]
    fn a_text_says_a_value_or_nothing() {
        for (text, ty) in
            [("x", Type::Number), ("5", Type::Duration), ("5y", Type::Duration), ("1", Type::Bool)]
        {
            assert_eq!(value_of(text, ty), None, "{text}");
        }
        assert_eq!(value_of("", Type::List(crate::types::Element::String)), Some(Const::List([].into())));
        assert_eq!(value_of("1.5h", Type::Duration), Some(Const::Duration(5_400_000_000)));
    }
}
