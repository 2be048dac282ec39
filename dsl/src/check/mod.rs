//! Checks policies that will be active together: every mistake of every file in one run.
//!
//! Order of passes: all files are parsed; rules of all policies are named, so that exemptions and tests can refer to
//! them; then each policy's declarations are checked, parameters and lists before the rules that use them.

mod calls;
mod expr;
mod header;
mod library;
mod memory;
mod operators;
mod paths;
mod promise;
mod rule;
mod schema;
mod scope;
mod template;
mod tests;
mod unknowns;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use self::expr::Checker;
pub use self::library::Library;
use self::scope::{Named, Scope};
use crate::ast::{self, ItemKind};
use crate::diagnostics::{Diagnostic, Severity, lints, names, syntax, typing};
use crate::events::EventKind;
use crate::hir::{self, Const, LIST_LIMIT, PatternKind};
use crate::parallel;
use crate::source::{Lines, Source, Span};
use crate::types::{Element, Type};

/// What a policy is called while its header can't be read.
const UNNAMED: &str = "unnamed";

/// The kinds of event of every rule, by full name. (A rule with an unknown kind has none.)
type Rules = BTreeMap<String, Vec<EventKind>>;

/// Checks sources that will be active together.
pub(crate) fn check(sources: &[Source], with_lints: bool) -> (hir::PolicySet, Vec<Diagnostic>) {
    let numbered: Vec<(u32, &Source)> = (0u32..).zip(sources).collect();
    let parsed = parallel::map(&numbered, |(number, source)| {
        let mut said = Vec::new();
        (Arc::new(crate::parse::parse(*number, source, &mut said)), said)
    });
    let (files, said): (Vec<Arc<ast::File>>, Vec<Vec<Diagnostic>>) = parsed.into_iter().unzip();
    let mut diagnostics: Vec<Diagnostic> = said.into_iter().flatten().collect();
    let rules = name_rules(&files);
    let rule_names: Vec<String> = rules.keys().cloned().collect();
    let schemas = schema::all(files.iter().map(Arc::as_ref));
    let chains = template::chains(&files, &mut diagnostics);
    let lines: Vec<Lines> = sources.iter().map(Lines::new).collect();
    let checked = parallel::map(&numbered, |(number, source)| {
        let (file, chain) = (files.get(*number as usize)?, chains.get(*number as usize)?);
        let known = Known {
            rules: &rules,
            rule_names: &rule_names,
            schemas: &schemas,
            files: &files,
            lines: &lines,
            chain,
            checked: &HashMap::new(),
        };
        let of_file = diagnostics.iter().filter(|diagnostic| diagnostic.span.source == *number);
        let (mut said, mut used) = (of_file.cloned().collect::<Vec<_>>(), Names::default());
        let before = said.len();
        let policy = policy(*number, file, source, known, &mut used, &mut said);
        Some((policy, used, said.split_off(before)))
    });
    let mut used = Names::default();
    let mut set = hir::PolicySet::default();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for ((number, file), checked) in (0u32..).zip(&files).zip(checked) {
        let Some((policy, used_here, said)) = checked else { continue };
        diagnostics.extend(said);
        used.unused.extend(used_here.unused);
        used.used.extend(used_here.used);
        let Some(policy) = policy else { continue };
        if let Some(first) = names.insert(policy.name.clone(), set.policies.len()) {
            let span =
                header(file).map_or(Span { source: number, ..Span::default() }, |header| header.name.span);
            let message = format!("policy `{}` is already declared in another file", policy.name);
            diagnostics.push(syntax::header(
                span,
                &message,
                "rename one of them: the name in the header is the policy's own",
            ));
            names.insert(policy.name, first);
            continue;
        }
        set.policies.push(Arc::new(policy));
    }
    used.unused.retain(|(span, ..)| !used.used.contains(&(span.source, span.start)));
    diagnostics.extend(used.unused.into_iter().map(|(span, what, name)| lints::unused(span, what, &name)));
    if with_lints {
        crate::lint::lint(&files, &set, &lines, &mut diagnostics);
    }
    diagnostics.sort_by_key(|d| (d.span.source, d.span.start, d.code));
    diagnostics.dedup_by(|a, b| a.code == b.code && a.span == b.span && a.message == b.message);
    limit(&mut diagnostics);
    (set, diagnostics)
}

/// Keeps the first errors of each file, the first warnings and the first notes, and says that there are more. What is only
/// worth knowing never becomes an error by its number.
fn limit(diagnostics: &mut Vec<Diagnostic>) {
    let (mut file, mut counts) = (0, [0; 3]);
    diagnostics.retain_mut(|diagnostic| {
        if diagnostic.span.source != file {
            (file, counts) = (diagnostic.span.source, [0; 3]);
        }
        let severity = diagnostic.severity;
        let [errors, warnings, notes] = &mut counts;
        let count = match severity {
            Severity::Error => errors,
            Severity::Warning => warnings,
            Severity::Note => notes,
        };
        *count += 1;
        if *count == crate::parse::DIAGNOSTICS_LIMIT {
            *diagnostic = syntax::more(diagnostic.span, *count, severity);
        }
        *count <= crate::parse::DIAGNOSTICS_LIMIT
    });
}

fn header(file: &ast::File) -> Option<&ast::Header> {
    file.items.iter().find_map(|item| match &item.kind {
        ItemKind::Header(header) => Some(header),
        _ => None,
    })
}

/// The name of the policy that a text says it extends.
pub(crate) fn extends(source: &Source) -> Option<String> {
    let file = crate::parse::parse(0, source, &mut Vec::new());
    header(&file)?.extends.first().map(|base| base.value.clone())
}

/// Whether a header says `mode = "shadow"`.
fn is_shadow(header: &ast::Header) -> bool {
    let shadow = |value: &ast::Value| match value {
        ast::Value::Expr(expr) => expr::plain_text(expr).as_deref() == Some("shadow"),
        _ => false,
    };
    header.settings.iter().any(|(key, value)| key.value == "mode" && shadow(value))
}

fn name_rules(files: &[Arc<ast::File>]) -> Rules {
    let mut rules = Rules::new();
    for file in files {
        let policy = header(file).map_or(UNNAMED, |header| header.name.value.as_str());
        for item in &file.items {
            if let ItemKind::Rule(rule) = &item.kind {
                let kinds =
                    rule.kinds.iter().map(|kind| EventKind::named(&kind.value)).collect::<Option<_>>();
                rules.insert(format!("{policy}.{}", rule.name.value), kinds.unwrap_or_default());
            }
        }
    }
    rules
}

/// What one policy may refer to.
#[derive(Clone, Copy)]
struct Known<'a> {
    rules: &'a Rules,
    /// Their names alone.
    rule_names: &'a [String],
    schemas: &'a schema::Schemas,
    files: &'a [Arc<ast::File>],
    lines: &'a [Lines<'a>],
    /// What it extends.
    chain: &'a template::Chain,
    /// Those of its rules that are checked already, by where their declarations stand in memory.
    checked: &'a HashMap<usize, &'a Arc<hir::Rule>>,
}

/// Which names of all policies were used. Those of one may be used by another that extends it.
#[derive(Default)]
struct Names {
    unused: Vec<(Span, &'static str, String)>,
    /// Sources, and where in them names used by others are declared.
    used: BTreeSet<(u32, u32)>,
}

fn policy<'a>(
    number: u32,
    file: &'a ast::File,
    source: &Source,
    known: Known<'a>,
    used: &mut Names,
    out: &'a mut Vec<Diagnostic>,
) -> Option<hir::Policy> {
    let Known { rules, rule_names, schemas, lines, chain, .. } = known;
    let mut headers = file.items.iter().filter_map(|item| match &item.kind {
        ItemKind::Header(header) => Some(header),
        _ => None,
    });
    let first = headers.next();
    for extra in headers {
        out.push(syntax::header(
            extra.name.span,
            "a file has one header",
            "put the second policy into a file of its own",
        ));
    }
    if first.is_none() && !file_was_unreadable(number, out) {
        let span = Span { source: number, start: 0, end: 1.min(source.text.len() as u32) };
        let help = "begin the file with `policy my_policy { title = \"…\" }`";
        out.push(syntax::header(span, "this file has no `policy` header", help));
    }
    let name = first.map_or_else(|| UNNAMED.to_owned(), |header| header.name.value.clone());
    let mut scope = Scope::new(name, number, &chain.broken, schemas, out);
    let mut policy = hir::Policy {
        name: scope.policy.clone(),
        title: scope.policy.clone(),
        source_digest: hex(&Sha256::digest(source.text.as_bytes())),
        ..hir::Policy::default()
    };
    if let Some(header) = first {
        header::header(&mut scope, header, &mut policy);
    }
    let inherited = template::inherit(&mut scope, known);
    declare(&mut scope, file, known, &mut policy);
    template::only_tightens(&mut scope, file, known);
    let params: Vec<(String, hir::Param)> = inherited
        .into_iter()
        .chain(policy.params.iter().map(|param| (policy.name.clone(), param.clone())))
        .collect();
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for item in &file.items {
        if scope.is_full() {
            break;
        }
        match &item.kind {
            ItemKind::Rule(written) => {
                if let Some(first) = seen.insert(&written.name.value, written.name.span) {
                    report_duplicate(&mut scope, lines, "rule", &written.name, first);
                }
                if let Some(rule) = known.checked.get(&(Arc::as_ptr(item) as usize)) {
                    policy.rules.push(Arc::clone(rule));
                    continue;
                }
                match rule::rule(&mut scope, written, &item.docs) {
                    Some(rule) => policy.rules.push(Arc::new(rule)),
                    // A rule must never be missing without a word.
                    None if !scope.has_errors() => {
                        scope.report(syntax::too_large(written.name.span, "this rule", expr::SIZE_LIMIT));
                    }
                    None => {}
                }
            }
            ItemKind::Default(default) => {
                let kinds = rule::kinds(&mut scope, &default.kinds);
                let effect = rule::effect(&mut scope, &default.effect.value, default.effect.span);
                if let (Some(kinds), Some(effect)) = (kinds, effect) {
                    policy.defaults.push(hir::Default { kinds, effect });
                }
            }
            ItemKind::Schema(written) => policy.schemas.extend(schema::schema(&mut scope, written, lines)),
            ItemKind::Exempt(written) => {
                if let Some(name) = full_rule_name(&mut scope, &written.rule, rule_names) {
                    let kinds = rules.get(&name).cloned().unwrap_or_default();
                    policy.exemptions.extend(rule::exemption(&mut scope, written, name, &kinds));
                }
            }
            ItemKind::Test(written) => {
                policy.tests.extend(tests::test(&mut scope, written, &params, rule_names))
            }
            ItemKind::Header(_) | ItemKind::Param(_) | ItemKind::List(_) | ItemKind::Def(_) => {}
        }
    }
    if !scope.has_errors() {
        used.unused.extend(scope.unused());
    }
    used.used.extend(scope.used_of_others().map(|span| (span.source, span.start)));
    first.map(|_| policy)
}

/// Whether the header itself has a syntax error, so that saying it is missing would only confuse.
fn file_was_unreadable(number: u32, out: &[Diagnostic]) -> bool {
    out.iter().any(|d| d.span.source == number && d.code.starts_with("L01"))
}

/// Parameters, lists and macros, so that everything else may use them wherever they stand.
fn declare<'a>(scope: &mut Scope<'a>, file: &'a ast::File, known: Known<'a>, policy: &mut hir::Policy) {
    for item in &file.items {
        crate::lint::names::check(&item.kind, |diagnostic| scope.report(diagnostic));
        let (what, name, taken) = match &item.kind {
            ItemKind::Param(written) => {
                let Some(ty) = param_type(scope, written) else { continue };
                let param = param(scope, written, ty);
                // A parameter with a wrong value still has its name and type.
                let range = param.as_ref().and_then(|param| param.range.clone());
                let named =
                    Named::Param { full: format!("{}.{}", scope.policy, written.name.value), ty, range };
                policy.params.extend(param);
                ("parameter", &written.name, scope.declare(&written.name, named))
            }
            ItemKind::List(written) => {
                // A list that can't be read still has its name, or each use of it would be a further mistake.
                let named =
                    list(scope, written).unwrap_or(Named::Values(Const::List(Arc::from([])), Type::STRINGS));
                ("list", &written.name, scope.declare(&written.name, named))
            }
            ItemKind::Def(written) => ("macro", &written.name, scope.declare_macro(written)),
            _ => continue,
        };
        match taken {
            Ok(()) => {}
            Err(first) if first.source == name.span.source => {
                report_duplicate(scope, known.lines, what, name, first)
            }
            Err(first) => {
                let base = known.files.get(first.source as usize).and_then(|file| header(file));
                let base = base.map_or(UNNAMED, |header| &header.name.value);
                scope.report(names::redeclared(name.span, what, &name.value, base));
            }
        }
    }
}

fn report_duplicate(scope: &mut Scope, lines: &[Lines], what: &str, name: &ast::Name, first: Span) {
    let line = lines.get(first.source as usize).map_or(0, |lines| lines.line_column(first.start as usize).0);
    scope.report(names::duplicate(name.span, what, &name.value, line));
}

fn param_type(scope: &mut Scope, written: &ast::Param) -> Option<Type> {
    Some(match written.ty.value.replace(' ', "").as_str() {
        "number" => Type::Number,
        "string" => Type::String,
        "bool" => Type::Bool,
        "duration" => Type::Duration,
        "list<string>" => Type::STRINGS,
        "list<number>" => Type::List(Element::Number),
        other => {
            let known = ["number", "string", "bool", "duration", "list<string>", "list<number>"];
            scope.report(names::unknown_word(written.ty.span, "type of parameter", other, known.into_iter()));
            return None;
        }
    })
}

fn param(scope: &mut Scope, written: &ast::Param, ty: Type) -> Option<hir::Param> {
    let default = constant(scope, &written.default);
    let range = match &written.range {
        None => None,
        Some((low, high)) => {
            let mut checker = Checker::new(scope, &[]);
            match (checker.infer(low)?.kind, checker.infer(high)?.kind) {
                (hir::ExprKind::Const(low_value), hir::ExprKind::Const(high_value)) => {
                    if low_value.ty() != Some(ty) || high_value.ty() != Some(ty) || low_value > high_value {
                        let message = format!("`{low_value}..{high_value}` is no range of a {ty}");
                        scope.report(typing::out_of_range(low.span.to(high.span), message));
                        return None;
                    }
                    Some((low_value, high_value))
                }
                _ => return None,
            }
        }
    };
    let default = default?;
    let param = hir::Param {
        name: written.name.value.clone(),
        ty,
        value: default.clone(),
        default,
        range,
        help: written.help.as_ref().map(|help| help.value.clone()),
    };
    if let Err(reason) = param.accepts(&param.default) {
        scope.report(typing::out_of_range(written.default.span(), reason));
        return None;
    }
    Some(param)
}

fn list(scope: &mut Scope, written: &ast::List) -> Option<Named> {
    if written.values.len() > LIST_LIMIT {
        scope.report(syntax::too_large(written.span, "this list", LIST_LIMIT));
        return None;
    }
    let kind = written.kind.as_ref().map_or("string", |kind| kind.value.as_str());
    let element = match kind {
        "string" => Element::String,
        "number" => Element::Number,
        _ => {
            let Some((_, pattern)) = PatternKind::NAMES.iter().find(|(name, _)| *name == kind) else {
                let span = written.kind.as_ref().map_or(written.span, |kind| kind.span);
                let known = PatternKind::NAMES.iter().map(|(name, _)| *name).chain(["string", "number"]);
                scope.report(names::unknown_word(span, "kind of list", kind, known));
                return None;
            };
            return patterns(scope, written, *pattern);
        }
    };
    let values = values(scope, &written.values, element)?;
    Some(Named::Values(Const::List(values.into()), Type::List(element)))
}

fn values(scope: &mut Scope, written: &[ast::Value], element: Element) -> Option<Vec<Const>> {
    let mut values = Vec::with_capacity(written.len());
    let mut sound = true;
    for value in written {
        match constant(scope, value) {
            Some(constant) if constant.ty() == Some(element.ty()) => values.push(constant),
            Some(other) => {
                let found = other.ty().unwrap_or(Type::STRINGS);
                scope.report(typing::mixed_list(value.span(), element.ty(), found));
                sound = false;
            }
            None => sound = false,
        }
    }
    sound.then_some(values)
}

fn patterns(scope: &mut Scope, written: &ast::List, kind: PatternKind) -> Option<Named> {
    let entries: Vec<String> = values(scope, &written.values, Element::String)?
        .into_iter()
        .filter_map(|value| match value {
            Const::Text(text) => Some(text),
            _ => None,
        })
        .collect();
    if let Some((number, reason)) = expr::bad_entry(kind, &entries) {
        let span = written.values.get(number).map_or(written.span, ast::Value::span);
        let help = match kind {
            PatternKind::Domain => {
                "write a host name or an address, without scheme, port or path: \"bank.example\""
            }
            PatternKind::Cidr => "write a network or an address: \"10.0.0.0/8\"",
            PatternKind::Path => "write an absolute path: \"/srv/data\"",
            PatternKind::Glob => "`*` stands for anything, `?` for one character",
        };
        scope.report(typing::bad_pattern(span, kind.name(), &reason, help));
        return None;
    }
    let name = format!("{}.{}", scope.policy, written.name.value);
    Some(Named::Patterns(Arc::new(hir::PatternList { name, kind, entries })))
}

/// A value that is known when the policy is checked.
fn constant(scope: &mut Scope, value: &ast::Value) -> Option<Const> {
    let expr = match value {
        ast::Value::Expr(expr) => expr,
        ast::Value::List(items, _) => {
            let items: Vec<Option<Const>> = items.iter().map(|item| constant(scope, item)).collect();
            return Some(Const::List(items.into_iter().collect::<Option<Vec<_>>>()?.into()));
        }
        ast::Value::Object(_, span) => {
            scope.report(typing::misplaced(
                *span,
                "an object",
                "write a number, a text, a span of time or a list",
            ));
            return None;
        }
    };
    let checked = Checker::new(scope, &[]).infer(expr)?;
    match checked.kind {
        hir::ExprKind::Const(value) => Some(value),
        _ => {
            scope.report(typing::literal_only(
                expr.span,
                "this value",
                "`1_000`, \"text\", `60m` or `[\"a\", \"b\"]`",
            ));
            None
        }
    }
}

/// The full name of a rule named by itself or with its policy.
fn full_rule_name(scope: &mut Scope, name: &ast::Name, rules: &[String]) -> Option<String> {
    let full = if name.value.contains('.') {
        name.value.clone()
    } else {
        format!("{}.{}", scope.policy, name.value)
    };
    if rules.contains(&full) {
        return Some(full);
    }
    let own = format!("{}.", scope.policy);
    let known: Vec<&str> = rules.iter().map(|rule| rule.strip_prefix(&own).unwrap_or(rule)).collect();
    let diagnostic = names::unknown_rule(name.span, &name.value, known.into_iter());
    scope.report_unknown(&name.value, diagnostic);
    None
}

/// Whether an expression can be unknown, whatever stands beside it.
pub(crate) fn can_be_unknown(expr: &hir::Expr) -> bool {
    let found = unknowns::of(expr, &schema::Schemas::new());
    !found.absent.is_empty() || !found.other.is_empty()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod checks {
    use super::*;

    fn codes(text: &str) -> Vec<&'static str> {
        check(&[Source::new("p.lictor", text)], true).1.iter().map(|d| d.code).collect()
    }

    #[test]
    fn a_good_policy_is_clean() {
        let text = "policy p { title = \"P\" }\nparam cap: number = 10 in 0..100\nrule r on intent { when amount? > cap deny because \"{amount} > {cap}\" }";
        assert_eq!(codes(text), Vec::<&str>::new());
    }

    #[test]
    fn an_allow_must_know() {
        assert_eq!(
            codes("policy p {}\nrule r on intent { when agent.declared and payload.amount > 10 allow }"),
            ["L0401"]
        );
        assert_eq!(
            codes(
                "policy p {}\nrule r on intent { when agent.declared and has payload.amount and payload.amount > 10 allow }"
            ),
            Vec::<&str>::new()
        );
        assert_eq!(
            codes(
                "policy p {}\nrule r on intent { when agent.declared and (payload.amount else 0) > 10 allow }"
            ),
            Vec::<&str>::new()
        );
        assert_eq!(
            codes("policy p {}\nrule r on intent { when agent.declared and payload.amount? > 10 allow }"),
            Vec::<&str>::new()
        );
        assert_eq!(
            codes(
                "policy p {}\nrule r on intent { when agent.declared unless not has amount or amount > 10 allow }"
            ),
            Vec::<&str>::new()
        );
        assert_eq!(
            codes(
                "policy p {}\nrule r on intent { when agent.declared unless payload.blocked? == true allow }"
            ),
            ["L0404"]
        );
    }

    #[test]
    fn many_notes_are_no_mistake() {
        let rules: String = (0..2_000)
            .map(|number| format!("rule r{number} on intent {{ when amount > {number} deny }}\n"))
            .collect();
        let (set, diagnostics) = check(&[Source::new("p.lictor", format!("policy p {{}}\n{rules}"))], true);
        assert_eq!(set.policies[0].rules.len(), 2_000);
        let notes = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Note);
        assert_eq!(notes.count(), crate::parse::DIAGNOSTICS_LIMIT);
        assert!(diagnostics.iter().all(|diagnostic| diagnostic.severity != Severity::Error));
    }

    #[test]
    fn a_question_mark_never_opens_an_allow() {
        for condition in [
            "(payload.blocked? == true) == false",
            "(payload.blocked? == true) != true",
            "if payload.blocked? == true then false else true",
            "(count t in agent.tags: payload.blocked? == true) == 0",
            "(payload.blocked? == true else true) == false",
            "(if payload.blocked? == true then \"b\" else \"a\") == \"a\"",
        ] {
            let text =
                format!("policy p {{}}\nrule r on intent {{ when agent.declared and {condition} allow }}");
            assert_eq!(codes(&text), ["L0404"], "{condition}");
        }
        let fine = "policy p {}\nrule r on intent { when agent.declared and (any t in agent.tags: payload.kind? == t) allow }";
        assert_eq!(codes(fine), Vec::<&str>::new());
    }

    #[test]
    fn a_schema_promises_what_it_names() {
        let policy = |header: &str, condition: &str| {
            let schema = "schema intent \"refund\" { \"content-type\": string, \"a.b\": string }";
            format!(
                "policy p {{ {header} }}\n{schema}\nrule r on intent {{ when agent.declared and {condition} allow }}"
            )
        };
        let named = "action == \"refund\" and payload[\"content-type\"] == \"x\"";
        let mirrored = "\"refund\" == action and payload[\"content-type\"] == \"x\"";
        let another = "action == \"refund\" and payload.a.b == \"x\"";
        assert_eq!(codes(&policy("", named)), Vec::<&str>::new());
        assert_eq!(codes(&policy("", mirrored)), Vec::<&str>::new());
        assert_eq!(codes(&policy("", another)), ["L0401"]);
        assert_eq!(codes(&policy("mode = \"shadow\"", named)), ["L0401"]);
    }

    #[test]
    fn what_a_macro_hides_is_still_checked() {
        assert_eq!(
            codes("policy p {}\ndef big(x) = x > 10\nrule r on intent { when big(amonut) deny }"),
            ["L0201"]
        );
        assert_eq!(
            codes("policy p {}\ndef a() = b()\ndef b() = a()\nrule r on intent { when a() deny }"),
            ["L0209"]
        );
    }
}
