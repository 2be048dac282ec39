//! What the grammar expected, in the author's words.

use super::Rule;

/// Names what could have stood here, most telling first.
pub(super) fn describe(expected: &[Rule]) -> String {
    let mut names: Vec<&str> = expected.iter().filter_map(|rule| name(*rule)).collect();
    names.sort_unstable();
    names.dedup();
    if names.contains(&"an expression") {
        names.retain(|name| {
            *name == "an expression" || name.starts_with('`') && !is_start_of_expression(name)
        });
    }
    names.truncate(8);
    match names.split_last() {
        None => "something else".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// Says what to write instead.
pub(super) fn help(found: &str, expected: &[Rule]) -> String {
    let has = |rule| expected.contains(&rule);
    match found {
        "=" if has(Rule::comparison) => {
            return "compare with `==`; a single `=` only gives a value a name".to_owned();
        }
        "&" if has(Rule::and) => return "write `and`".to_owned(),
        "|" if has(Rule::or) => return "write `or`".to_owned(),
        "!" if has(Rule::not) => return "write `not`".to_owned(),
        "\'" => return "strings stand in double quotes".to_owned(),
        ";" => return "no semicolons are needed: remove it".to_owned(),
        "block" | "forbid" | "reject" => {
            return "the effects are `deny`, `require approval`, `warn` and `allow`".to_owned();
        }
        "permit" => return "write `allow`".to_owned(),
        "null" | "nil" | "None" => {
            return "there is no null: ask `has field`, or give a default with `else`".to_owned();
        }
        _ => {}
    }
    let keywords = [
        "when", "unless", "deny", "require", "warn", "allow", "score", "incident", "because", "controls",
        "applies", "mode", "expect",
    ];
    if let Some(word) = crate::diagnostics::nearest(found, keywords.into_iter())
        && word != found
    {
        return format!("did you mean `{word}`?");
    }
    if has(Rule::date) && !has(Rule::number) {
        return "write a date as `2025-08-02`".to_owned();
    }
    if has(Rule::duration) && !has(Rule::group) {
        return "write a span of time as `500ms`, `10s`, `60m`, `24h`, `7d` or `2w`".to_owned();
    }
    if has(Rule::when) || has(Rule::deny) {
        return "a rule reads `rule name on kind { when condition  deny  because \"…\" }`; `}` ends it"
            .to_owned();
    }
    if has(Rule::kw_expect) {
        return "a test holds `agent { … }`, one event such as `intent { … }`, and `expect …` lines"
            .to_owned();
    }
    format!("write {} here", describe(expected))
}

fn is_start_of_expression(name: &str) -> bool {
    matches!(name, "`not`" | "`has`" | "`-`" | "`tz`" | "`if`")
}

fn name(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::name | Rule::word => "a name",
        Rule::string => "a string in double quotes",
        Rule::number | Rule::score_value => "a number",
        Rule::duration => "a span of time such as `60m`",
        Rule::date => "a date such as `2025-08-02`",
        Rule::kind | Rule::kinds => "a kind of event",
        Rule::severity => "a severity",
        Rule::group
        | Rule::list_literal
        | Rule::regex
        | Rule::call
        | Rule::truth
        | Rule::expr
        | Rule::expr_plain
        | Rule::quantified
        | Rule::conditional
        | Rule::zoned
        | Rule::quantifier
        | Rule::key_expr => "an expression",
        Rule::value | Rule::object | Rule::literal => "a value",
        Rule::value_list => "a list in `[ ]`",
        Rule::param_type => "a type: `number`, `string`, `duration` or `list<string>`",
        Rule::list_kind => "a kind of list",
        Rule::range => "a range such as `0..100`",
        Rule::not => "`not`",
        Rule::minus => "`-`",
        Rule::present => "`has`",
        Rule::kw_tz => "`tz`",
        Rule::kw_if => "`if`",
        Rule::comparison => "a comparison",
        Rule::and | Rule::or => "`and`, `or`",
        Rule::deny | Rule::effect => "an effect",
        Rule::when | Rule::kw_when => "`when`",
        Rule::unless | Rule::kw_unless => "`unless`",
        Rule::because | Rule::kw_because => "`because`",
        Rule::kw_on => "`on`",
        Rule::kw_for => "`for`",
        Rule::kw_until => "`until`",
        Rule::kw_from => "`from`",
        Rule::kw_approval => "`approval`",
        Rule::kw_then => "`then`",
        Rule::kw_else => "`else`",
        Rule::kw_in => "`in`",
        Rule::kw_expect | Rule::expect => "`expect`",
        Rule::arguments => "arguments in `( )`",
        Rule::member | Rule::member_key | Rule::path => "a field name",
        Rule::setting => "a setting such as `title = \"…\"`",
        Rule::expect_decision | Rule::expect_outcome => "a decision",
        _ => return None,
    })
}
