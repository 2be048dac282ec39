//! Changes inputs word by word, so that most of what comes out is read some way before it goes wrong.

use super::seeds::{Seeds, seeds};
use super::targets::{SECTION, Target};

/// A sequence of numbers that its seed decides.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number (the generator is SplitMix64).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one; 0 if there is none.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }

    fn one<'t>(&mut self, texts: &'t [&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    /// Any number of 16 bits.
    pub(crate) fn word(&mut self) -> u16 {
        self.next() as u16
    }
}

/// Words of the language and of events, and what tends to be at the edge of something.
const WORDS: &str = "policy template param list def default rule test schema exempt on in let when unless deny warn allow \
    require approval from by within score incident per title do notify redact pause because controls applies until mode \
    shadow for with expect no match exempted risk extends before where since events resolution then else if tz as true \
    false and or not has any all count sum max min distinct seen last streak sequence age each attempted denied waiting \
    undecided happened startswith endswith contains word like matches registration intent action log request submission \
    agent.id agent.tags agent.trust org task at at.hour amount payload metadata properties arguments target tool kind \
    name status grant.allowed context.ip domain glob cidr path number string duration time ip json list<string> bool \
    text host port lower len keys values low medium high critical 0 1 2 9 10 0.5 1_000 0.000000001 0.0000000001 \
    170141183460469231731687303715884105727 99999999999999999999999999999.999999999 -1 1ms 1s 60m 1h 24h 7d 400d 401d \
    2026-01-01 2026-12-31 9999-12-31 0000-00-00 \"\" \"a\" \"2026-01-01T00:00:00Z\" \"{amount}\" \"{{\" \"}\" \"é\" \
    \"\\u{1F600}\" \"*.example\" \"10.0.0.0/8\" \"::1\" \"/a/../b\" \"xn--a\" /a/ /(a|b)*c/i /[^x]{3,9}/ == != <= >= ~= < > .. . ? \
    : , = + - * / % ( ) [ ] { } | \" // /// payload.xs payload[\"a\"] xs[0] risk \"event\" \"at\" \"agent\" \"id\" \
    \"payload\" \"approve\" null 1e40 -0 1e-9 1e999 \"\\ud800\" \"\\u0000\" {} []";

/// What is put around a stretch of words, again and again.
const AROUND: [(&str, &str); 14] = [
    ("(", ")"),
    ("not (", ")"),
    ("[", "]"),
    ("{\"a\":", "}"),
    ("{ a = ", " }"),
    ("if true then ", " else false"),
    ("any x in payload.xs: (", ")"),
    ("count y in payload.xs: (", ")"),
    ("seen(intent where ", " per task)"),
    ("count(log where ", " within 1h) > 2"),
    ("\"{", "}\""),
    ("true and ", ""),
    ("", " or amount > 1"),
    ("lower(", ")"),
];

/// One input made from another (and from what is in the project), at most so many bytes long.
pub fn mutate(target: Target, input: &[u8], random: &mut Random, longest: usize) -> Vec<u8> {
    let seeds = seeds();
    let mut text = match std::str::from_utf8(input) {
        Ok(text) if !text.is_empty() && random.below(16) > 0 => text.to_owned(),
        _ => seeds.of(target, random).to_owned(),
    };
    for _ in 0..1 + random.below(4) {
        text = changed(&text, seeds, random);
        cut(&mut text, longest);
    }
    let mut bytes = text.into_bytes();
    // Now and then it is no text any more.
    if random.below(32) == 0 && !bytes.is_empty() {
        let at = random.below(bytes.len());
        bytes[at] = random.below(256) as u8;
    }
    bytes
}

fn cut(text: &mut String, longest: usize) {
    let end = (0..=longest.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
}

fn changed(text: &str, seeds: &Seeds, random: &mut Random) -> String {
    let words = split(text);
    let (from, to) = stretch(words.len(), random);
    let (before, middle, after) = (words[..from].concat(), words[from..to].concat(), words[to..].concat());
    let known: Vec<&str> = WORDS.split_whitespace().collect();
    let times = 1 << random.below(9);
    match random.below(12) {
        0 => format!("{before}{after}"),
        1 => format!("{before}{} {after}", random.one(&known)),
        2 => format!("{before}{middle} {} {after}", random.one(&known)),
        3 => format!("{before}{}{after}", middle.repeat(times.min(1 + 65_536 / middle.len().max(1)))),
        4 => {
            let (open, close) = AROUND[random.below(AROUND.len())];
            format!("{before}{}{middle}{}{after}", open.repeat(times), close.repeat(times))
        }
        5 => format!("{before}{}\n{after}", seeds.piece(random)),
        6 => format!("{text}\n{}", seeds.piece(random)),
        7 => {
            let other = split(seeds.piece(random));
            let (from, to) = stretch(other.len(), random);
            format!("{before}{}{after}", other[from..to].concat())
        }
        8 => {
            let (from, to) = stretch(words.len(), random);
            format!("{before}{}{after}", words[from..to].concat())
        }
        9 => {
            let any = random.one(&[
                "\0",
                "é",
                "汉",
                "\u{202e}",
                "\u{feff}",
                "\r\n",
                "\t",
                "\u{10ffff}",
                "\\",
                "\"",
                "'",
                ";",
            ]);
            format!("{before}{any}{middle}{after}")
        }
        10 => format!("{before}{SECTION}{middle}{after}"),
        _ => format!("{before}{}{after}", number(random)),
    }
}

/// Where a stretch of words begins and ends: mostly a short one.
fn stretch(words: usize, random: &mut Random) -> (usize, usize) {
    let from = random.below(words + 1);
    let longest = if random.below(4) == 0 { 64 } else { 3 };
    (from, (from + random.below(longest + 1)).min(words))
}

fn number(random: &mut Random) -> String {
    let longest = if random.below(8) == 0 { 60 } else { 6 };
    let digits = 1 + random.below(longest);
    let mut text: String = (0..digits).map(|_| char::from(b'0' + random.below(10) as u8)).collect();
    if random.below(3) == 0 {
        text.insert(random.below(text.len()), '.');
    }
    text
}

/// Words, blanks and single signs, in order and complete.
fn split(text: &str) -> Vec<&str> {
    let class = |c: char| match c {
        _ if c.is_alphanumeric() || c == '_' => 1,
        _ if c.is_whitespace() => 2,
        _ => 0,
    };
    let mut words = Vec::new();
    let mut start = 0;
    let mut last = 0;
    for (at, c) in text.char_indices() {
        let this = class(c);
        if at > start && (this == 0 || this != last) {
            words.push(&text[start..at]);
            start = at;
        }
        last = this;
    }
    words.push(&text[start..]);
    words
}
