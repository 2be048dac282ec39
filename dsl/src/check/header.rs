//! What a header says of its policy, and a template of where its rules come from.

use super::expr::plain_text;
use super::rule;
use super::scope::Scope;
use crate::ast::{self, Value};
use crate::diagnostics::{effects, names, syntax, typing};
use crate::hir::{Policy, Template};
use crate::text::moment;

/// What every header may say.
const SETTINGS: [&str; 4] = ["title", "owner", "controls", "mode"];
/// What a template's header must say besides.
const OF_TEMPLATES: [&str; 4] = ["framework", "version", "source", "facts_checked_on"];

/// Checks a header and puts what it says into the policy.
pub(super) fn header(scope: &mut Scope, header: &ast::Header, policy: &mut Policy) {
    let of_templates = if header.is_template { OF_TEMPLATES.as_slice() } else { &[] };
    let known = || SETTINGS.iter().chain(of_templates).copied();
    let mut template: [Option<String>; 4] = [const { None }; 4];
    for (key, value) in &header.settings {
        let name = key.value.as_str();
        if !known().any(|known| known == name) {
            scope.report(names::unknown_word(
                key.span,
                "setting",
                name,
                known().collect::<Vec<_>>().into_iter(),
            ));
            continue;
        }
        if name == "controls" {
            match value {
                Value::List(values, _) => {
                    rule::texts(scope, values, &mut policy.controls);
                }
                other => scope.report(typing::literal_only(other.span(), "`controls`", "`[\"SOC2:CC6.1\"]`")),
            }
            continue;
        }
        let Some(text) = text(value) else {
            let what = format!("`{name}`");
            scope.report(typing::literal_only(value.span(), &what, "a text in double quotes"));
            continue;
        };
        if let Some(place) = OF_TEMPLATES.iter().position(|known| *known == name) {
            template.iter_mut().skip(place).take(1).for_each(|place| *place = Some(text.clone()));
        }
        match name {
            "title" => policy.title = text,
            "owner" => policy.owner = Some(text),
            "mode" if text == "shadow" => policy.shadow = true,
            "mode" => scope.report(names::unknown_word(value.span(), "mode", &text, ["shadow"].into_iter())),
            "facts_checked_on" if moment::date(&text).is_none() => {
                scope.report(effects::bad_date(value.span(), &text))
            }
            _ => {}
        }
    }
    policy.extends = header.extends.first().map(|base| base.value.clone());
    if header.is_template {
        policy.template = self::template(scope, header, template);
    }
}

/// The text of a setting; a date may stand without quotes.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Expr(ast::Expr { kind: ast::ExprKind::Date(day), .. }) => Some(day.clone()),
        Value::Expr(expr) => plain_text(expr),
        _ => None,
    }
}

fn template(scope: &mut Scope, header: &ast::Header, said: [Option<String>; 4]) -> Option<Template> {
    for (name, said) in OF_TEMPLATES.iter().zip(&said) {
        let written = header.settings.iter().any(|(key, _)| key.value == *name);
        if !written || said.as_ref().is_some_and(|text| text.trim().is_empty()) {
            let message = format!("template `{}` does not say its `{name}`", header.name.value);
            let example = match *name {
                "framework" => "framework = \"SOC 2\"",
                "version" => "version = \"1.0.0\"",
                "source" => "source = \"https://…\"",
                _ => "facts_checked_on = \"2026-01-31\"",
            };
            scope.report(syntax::template(header.name.span, &message, &format!("add `{example}`")));
        }
    }
    let [framework, version, source, facts_checked_on] = said;
    Some(Template {
        framework: framework?,
        version: version?,
        source: source?,
        facts_checked_on: facts_checked_on?,
    })
}
