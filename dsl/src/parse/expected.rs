//! What the grammar expected, in the author's words.

use super::Rule;

/// Names what could have stood here, most telling first.
pub(super) fn describe(expected: &[Rule]) -> String {
    if let [only] = expected
        && let Some(shape) = shape(*only)
    {
        return format!("`{shape}`");
    }
    if let [Rule::EOI] = expected {
        return "the next declaration".to_owned();
    }
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
        "!" => return "write `not`; for unequal write `!=`".to_owned(),
        "\'" => return "strings stand in double quotes".to_owned(),
        ";" => return "no semicolons are needed: remove it".to_owned(),
        "is" | "equals" | "eq" => return "compare with `==`".to_owned(),
        "block" | "forbid" | "reject" | "refuse" => {
            return "the effects are `deny`, `require approval`, `warn` and `allow`".to_owned();
        }
        "permit" => return "write `allow`".to_owned(),
        "null" | "nil" | "None" => {
            return "there is no null: ask `has field`, or give a default with `else`".to_owned();
        }
        _ => {}
    }
    if let [Rule::EOI] = expected {
        return crate::diagnostics::syntax::declarations(found);
    }
    if let [only] = expected
        && let Some(shape) = shape(*only)
    {
        return format!("write it as `{shape}`");
    }
    if has(Rule::name) && !names_expression(expected) && is_reserved(found) {
        return format!("`{found}` is a word of the language: choose another name, such as `my_{found}`");
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
    if has(Rule::kw_approval) {
        return "write `require approval`, and behind it `from \"role\"`, `by 2` or `within 60m` as needed"
            .to_owned();
    }
    if has(Rule::kw_on) && expected.len() == 1 {
        return "name the kinds of event it is about: `on intent`, or `on action, log`".to_owned();
    }
    if has(Rule::expect_outcome) || has(Rule::expect_decision) || has(Rule::deny) && has(Rule::kw_risk) {
        return "write `expect deny by my_rule`, `expect no match`, `expect incident high`, `expect risk >= 0.5`, `expect because \"…\"`, `expect do notify \"…\"`, `expect shadow my_rule` or `expect exempted my_rule`".to_owned();
    }
    if has(Rule::kw_expect) || expected == [Rule::object] {
        return "a test holds `agent { … }`, one event such as `intent { … }`, and `expect …` lines"
            .to_owned();
    }
    if expected == [Rule::string] && found.starts_with(char::is_alphabetic) {
        return "texts stand in double quotes; inside `{ }` a field reads `field = value`".to_owned();
    }
    if found.starts_with(|c: char| c.is_ascii_digit()) {
        return "a number is written `1_000` or `0.35`, a span of time `500ms`, `10s`, `60m`, `24h`, `7d` or `2w`".to_owned();
    }
    if names_expression(expected) {
        return "something is missing before this: write a field, a value in double quotes or a number"
            .to_owned();
    }
    format!("write {} here", describe(expected))
}

fn names_expression(expected: &[Rule]) -> bool {
    expected.iter().any(|rule| name(*rule) == Some("an expression"))
}

/// How a declaration reads, for one that goes wrong at a sign, which the parser does not name.
fn shape(item: Rule) -> Option<&'static str> {
    Some(match item {
        Rule::header => "policy name { title = \"…\" }",
        Rule::param => "param name: number = 10 in 0..100 \"what it is for\"",
        Rule::list => "list name: domain = [\"bank.example\"]",
        Rule::def => "def name(x) = x > 10",
        Rule::default_for => "default on intent deny",
        Rule::rule_item => "rule name on intent { when … deny }",
        Rule::schema => "schema intent \"refund\" { amount: number, note: string? }",
        Rule::exempt => "exempt rule for condition until 2027-01-31 because \"…\"",
        Rule::test => "test \"what it shows\" { intent { … } expect deny by rule }",
        _ => return None,
    })
}

/// Whether a word can't be a name, because it means something else.
fn is_reserved(word: &str) -> bool {
    use pest::Parser;
    super::Grammar::parse(Rule::word, word).is_ok_and(|pairs| pairs.as_str() == word)
        && super::Grammar::parse(Rule::name, word).is_err()
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
        Rule::object => "`{ field = value }`",
        Rule::value | Rule::literal => "a value",
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
