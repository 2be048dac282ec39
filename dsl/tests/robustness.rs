//! Texts that no author would write: reading them ends soon, in diagnostics, with the stack intact.

#![expect(clippy::unwrap_used, reason = "a test that meets what it did not expect should stop right there")]

use std::time::{Duration, Instant};

use lictor_dsl::diagnostics::Severity;
use lictor_dsl::{Checked, Source, check};

/// Checks a text on a stack as small as a server's worker has, and says how long it took.
fn timed(text: String) -> (Checked, Duration) {
    let work = move || {
        let start = Instant::now();
        let checked = check(vec![Source::new("p.lictor", text)]);
        (checked, start.elapsed())
    };
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(work)
        .unwrap()
        .join()
        .expect("no panic and no overflow")
}

fn rule(condition: &str) -> String {
    format!("policy p {{}}\nrule r on intent {{ when {condition} deny }}\n")
}

/// Two seconds for a megabyte; unoptimised and beside other work it may be many. What grows with the square takes minutes.
const SOON: Duration = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 2 });

#[test]
fn hostile_texts_are_refused_soon() {
    let noise: String = {
        // A fixed sequence of printable characters, signs far more often than in a real text.
        let alphabet: Vec<char> = "(){}[]\"/\\.,:=<>?-+*%!&|;#@~^ \n\tabcxyz019_é汉".chars().collect();
        let mut state = 1_u64;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            alphabet[(state >> 33) as usize % alphabet.len()]
        })
        .take(900_000)
        .collect()
    };
    let megabyte = 1_000_000;
    let cases = [
        ("open parentheses", rule(&"(".repeat(100_000))),
        ("nested parentheses", rule(&format!("{}amount > 1{}", "(".repeat(100_000), ")".repeat(100_000)))),
        ("nested lists", rule(&format!("action in {}{}", "[".repeat(100_000), "]".repeat(100_000)))),
        ("nested objects", format!("policy p {{}}\ntest \"t\" {}", "intent { payload = ".repeat(50_000))),
        ("nots", rule(&format!("{}agent.declared", "not ".repeat(100_000)))),
        ("minuses", rule(&format!("{}amount > 1", "-".repeat(100_000)))),
        ("sums", rule(&format!("amount > 1{}", " + 1".repeat(100_000)))),
        ("members", rule(&format!("payload{} == 1", ".a".repeat(100_000)))),
        ("questions", rule(&format!("payload{} == 1", "?".repeat(100_000)))),
        ("ifs", rule(&"if agent.declared then true else ".repeat(30_000))),
        ("quantifiers", rule(&"any x in payload.xs: ".repeat(40_000))),
        (
            "unclosed everything",
            "policy p {\nrule r on intent {\nwhen (action in [\"x\nrule s on log {\n".repeat(10_000),
        ),
        ("closing everything", "policy p {}\n".to_owned() + &")]}".repeat(100_000)),
        ("quotes", "\"".repeat(megabyte)),
        ("slashes", format!("rule r on intent {{ when x matches {} }}", "/ ".repeat(megabyte / 2))),
        ("backslashes", format!("policy p {{ title = \"{} }}", "\\".repeat(megabyte))),
        ("one long word", "x".repeat(megabyte)),
        ("words that begin declarations", "rule ".repeat(megabyte / 5)),
        ("braces in a string", rule(&format!("action == \"{}\"", "{".repeat(100_001)))),
        ("unknown names beside many known ones", {
            let known: String =
                (0..10_000).map(|number| format!("list known_list_{number} = []\n")).collect();
            let unknown: Vec<_> = (0..15_000).map(|number| format!("a in knwn_lst_{number}")).collect();
            format!("{}{known}", rule(&unknown.join(" or ")))
        }),
        ("unknown rules in many exemptions", {
            let rules: String =
                (0..8_000).map(|number| format!("rule r{number} on intent {{ when true deny }}\n")).collect();
            let exempt = |number| format!("exempt q{number} for true until 2030-01-01 because \"x\"\n");
            format!("policy p {{}}\n{rules}{}", (0..8_000).map(exempt).collect::<String>())
        }),
        ("duplicate names", format!("policy p {{}}\n{}", "param p: number = 1\n".repeat(40_000))),
        (
            "duplicate fields",
            format!("policy p {{}}\nschema intent \"a\" {{ {} }}", "f: string, ".repeat(80_000)),
        ),
        ("nul bytes", "\0".repeat(megabyte)),
        ("noise", noise),
    ];
    for (name, text) in cases {
        let (checked, time) = timed(text);
        assert!(checked.has_errors(), "{name}");
        println!("{name}: {time:?}");
        assert!(time < SOON, "{name} took {time:?}");
        assert!(checked.reports().len() <= 500, "{name}");
    }
}

/// What is past a bound is refused by the code that names the bound, and by no more than that.
#[test]
fn each_bound_has_its_name() {
    let doubled = |first: &str, next: &dyn Fn(usize) -> String| {
        let levels: String = (1..=60).map(next).collect();
        format!("policy p {{}}\n{first}{levels}rule r on intent {{ when d60() deny }}\n")
    };
    let lets: String = (1..=60).map(|level| format!("let x{level} = x{0} and x{0}\n", level - 1)).collect();
    let parts = |count: usize| vec!["log"; count].join(" then ");
    let memories = |count: usize| {
        let asked: Vec<_> =
            (0..count).map(|number| format!("seen(log where name == \"n{number}\")")).collect();
        rule(&asked.join(" or "))
    };
    let hundred_thousand = vec!["1"; 100_001].join(",");
    let cases = [
        ("nesting", rule(&format!("{}true{}", "(".repeat(129), ")".repeat(129))), "L0104"),
        (
            "macros that double",
            doubled("def d0() = true\n", &|n| format!("def d{n}() = d{0}() and d{0}()\n", n - 1)),
            "L0105",
        ),
        (
            "macros that double texts",
            format!(
                "{}rule s on intent {{ when agent.paused deny because \"{{d60()}}\" }}",
                doubled("def d0() = \"x\"\n", &|n| format!("def d{n}() = \"{{d{0}()}}{{d{0}()}}\"\n", n - 1))
            ),
            "L0105",
        ),
        (
            "macros that double their arguments",
            format!(
                "policy p {{}}\ndef d(x) = x and x\nrule r on intent {{ when {}true{} deny }}",
                "d(".repeat(100),
                ")".repeat(100)
            ),
            "L0105",
        ),
        (
            "lets that double",
            format!("policy p {{}}\nrule r on intent {{ let x0 = agent.paused\n{lets}when x60 deny }}"),
            "L0105",
        ),
        ("a long list", rule(&format!("amount in [{hundred_thousand}]")), "L0105"),
        (
            "a long named list",
            format!(
                "policy p {{}}\nlist l = [{hundred_thousand}]\nrule r on intent {{ when amount in l deny }}"
            ),
            "L0105",
        ),
        ("a large regex", rule("action matches /((\\w{100}){100}){100}/"), "L0308"),
        (
            "a deep regex",
            rule(&format!("action matches /{}a{}/", "(?:".repeat(200), ")".repeat(200))),
            "L0308",
        ),
        ("parts of a sequence", rule(&format!("sequence({})", parts(17))), "L0501"),
        ("very many parts of a sequence", rule(&format!("sequence({})", parts(20_000))), "L0501"),
        ("memories of a rule", memories(65), "L0501"),
        ("very many memories of a rule", memories(15_000), "L0501"),
        ("keys of a memory", rule(&format!("seen(intent per {})", vec!["action"; 17].join(", "))), "L0504"),
        (
            "very many keys of a memory",
            rule(&format!("seen(intent per {})", vec!["action"; 50_000].join(", "))),
            "L0504",
        ),
        (
            "a memory inside of a memory",
            rule(&format!("{}true{}", "seen(log where ".repeat(60), ")".repeat(60))),
            "L0505",
        ),
        (
            "a file",
            format!("policy p {{}}\n{}", "rule r on intent { when true deny }\n".repeat(100_000)),
            "L0109",
        ),
    ];
    for (name, text, code) in cases {
        let (checked, time) = timed(text);
        let errors = checked.diagnostics.iter().filter(|found| found.severity == Severity::Error);
        let found: Vec<_> = errors.map(|found| found.code).collect();
        assert!(found.contains(&code), "{name}: {found:?}");
        assert!(found.iter().all(|found| *found == code), "{name}: {found:?}");
        println!("{name}: {time:?}");
        assert!(time < SOON, "{name} took {time:?}");
    }
}

/// What is large but means something is read.
#[test]
fn large_texts_are_read_soon() {
    let hosts: Vec<String> = (0..40_000).map(|number| format!("\"h{number}.example\"")).collect();
    let fields: String = (0..40_000).map(|number| format!("f{number}: string, ")).collect();
    let params: String = (0..20_000).map(|number| format!("param p{number}: number = 1\n")).collect();
    let rules: String = (0..5_000)
        .map(|number| format!("rule r{number} on intent {{ when action == \"a{number}\" deny }}\n"))
        .collect();
    let cases = [
        ("a chain of and", rule(&vec!["true"; 15_000].join(" and "))),
        ("a chain of or", rule(&vec!["true"; 15_000].join(" or "))),
        (
            "a long list",
            format!(
                "policy p {{}}\nlist hosts: domain = [{}]\nrule r on action {{ when target in hosts deny }}",
                hosts.join(", ")
            ),
        ),
        ("many rules", format!("policy p {{}}\n{rules}")),
        ("many fields of a schema", format!("policy p {{}}\nschema intent \"a\" {{ {fields} }}\n")),
        ("many parameters", format!("policy p {{}}\n{params}")),
        ("a diagram that doubles with each atom", {
            let atoms = |sign: &str| {
                (0..200).map(|number| format!("agent.tags has \"{sign}{number}\"")).collect::<Vec<_>>()
            };
            let pairs =
                atoms("a").iter().zip(atoms("b")).map(|(a, b)| format!("({a} and {b})")).collect::<Vec<_>>();
            let when = format!("({}) and ({})", atoms("a").join(" or "), pairs.join(" or "));
            format!("{}rule s on intent {{ when not ({when}) deny }}\n", rule(&when))
        }),
        ("many rules over many atoms", {
            let rules = (0..1_000).map(|number| {
                let atom =
                    |step: usize| format!("payload.f{} == {}", (number * step) % 97, (number * step) % 13);
                let when: Vec<_> = (1..12).map(atom).collect();
                format!(
                    "rule r{number} on intent {{ when {} deny }}\n",
                    when.join(if number % 2 == 0 { " or " } else { " and " })
                )
            });
            format!("policy p {{}}\n{}", rules.collect::<String>())
        }),
        ("many ranges of one field", {
            let rules = (0..5_000).map(|number| {
                format!("rule r{number} on intent {{ when amount in {number}..{} deny }}\n", number + 700)
            });
            format!("policy p {{}}\n{}", rules.collect::<String>())
        }),
        ("many texts of one field", {
            let rules = (0..5_000).map(|number| format!("rule r{number} on action {{ when tool startswith \"t{number}\" and not (tool endswith \"x{number}\") deny }}\n"));
            format!("policy p {{}}\n{}", rules.collect::<String>())
        }),
        ("a long comment", format!("policy p {{}}\n// {}\ndefault on intent deny", "x".repeat(1_000_000))),
        ("a long string", rule(&format!("action == \"{}\"", "x".repeat(1_000_000)))),
    ];
    for (name, text) in cases {
        let (checked, time) = timed(text);
        assert!(!checked.has_errors(), "{name}: {:?}", checked.diagnostics.first());
        println!("{name}: {time:?}");
        assert!(time < SOON, "{name} took {time:?}");
    }
}

/// Texts at every depth around the limit and the stack's: read or refused, and never a rule lost in silence.
#[test]
fn depth_is_bounded_whatever_it_is_made_of() {
    let nots = "not ".repeat(100);
    let shapes = [
        ("if agent.declared then true else ", ""),
        ("if ", " then true else false"),
        ("any x in payload.xs: ", ""),
        ("0 < count x in payload.xs: ", ""),
        ("(true and true or ", ")"),
        ("(not not not ", ")"),
        ("negated(", ")"),
        ("payload[", "] == "),
    ];
    for (open, close) in shapes {
        for depth in [20, 60, 100, 126, 250, 500, 800, 1_000, 3_000] {
            let nested = format!("{}agent.declared{}", open.repeat(depth), close.repeat(depth));
            let (checked, _) = timed(format!("{}def negated(x) = {nots} x\n", rule(&nested)));
            let rules = checked.set.policies.first().map_or(0, |policy| policy.rules.len());
            assert_eq!(rules == 0, checked.has_errors(), "{open} at {depth}");
        }
    }
}

/// A rule that grows too large by its macros is refused: what is left out of a policy must not be left out in silence.
#[test]
fn macros_that_grow_too_large_are_said() {
    let mut text =
        "policy p {}\nrule r on intent { when d6(amount) deny }\ndef d0(x) = x == 1 or x == 2\n".to_owned();
    for level in 1..=6 {
        let below = level - 1;
        let parts: Vec<_> = (0..8).map(|number| format!("d{below}(x + {number})")).collect();
        text += &format!("def d{level}(x) = {}\n", parts.join(" or "));
    }
    let (checked, time) = timed(text);
    let codes: Vec<_> = checked.diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["L0105"]);
    assert!(time < SOON);
}

/// The times of two texts, each the fastest of many runs that take turns: what other programs do strikes both.
fn fastest(first: &str, second: &str) -> (Duration, Duration) {
    let run = |text: &str| timed(text.to_owned()).1;
    (0..10).fold((Duration::MAX, Duration::MAX), |(a, b), _| (a.min(run(first)), b.min(run(second))))
}

#[test]
fn time_grows_with_depth_and_not_faster() {
    let shapes =
        [("(", ")"), ("not (", ")"), ("if agent.declared then (", ") else false"), ("amount > 1 and (", ")")];
    for (open, close) in shapes {
        let nested =
            |depth: usize| rule(&format!("{}agent.declared{}", open.repeat(depth), close.repeat(depth)));
        let (shallow, deep) = (nested(32), nested(64));
        // A busy machine may spoil one measurement; time that grows with the square spoils all of them.
        let measured: Vec<_> = (0..5).map(|_| fastest(&shallow, &deep)).collect();
        assert!(measured.iter().any(|(shallow, deep)| *deep < *shallow * 3), "{open}: {measured:?}");
    }
}

#[test]
fn mistakes_anywhere_end_in_diagnostics() {
    let good = include_str!("ui/L04/also_applies.lictor");
    for (at, _) in good.char_indices() {
        let cut = &good[..at];
        let without = format!("{}{}", cut, good[at..].chars().skip(1).collect::<String>());
        for sign in ["", "\"", "(", "}", "é", "and "] {
            let (head, tail) = good.split_at(at);
            check(vec![Source::new("p", format!("{head}{sign}{tail}"))]);
        }
        check(vec![Source::new("p", cut), Source::new("q", without)]);
    }
}
