//! What was read and checked for one set, kept for the next, which pays only for what changed.
//!
//! A declaration is known by its text: it is not read again, wherever it moves. A rule is not checked again where all
//! that it can lean on is the same: the header, parameters, lists and macros of its policy, what that extends, and the
//! schemas of the set. What speaks of other policies' rules is checked again when any rule was named anew.
//!
//! INVARIANT: a set is accepted only if [`crate::load`] would accept it, and means the same. Anything that looks wrong is
//! left to `load`, which finds what to say of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::schema::{self, Schemas};
use super::{Known, Names, Rules, header, name_rules, policy, template};
use crate::Checked;
use crate::ast::{self, Item, ItemKind};
use crate::diagnostics::Severity;
use crate::hir;
use crate::parallel;
use crate::parse::parse_again;
use crate::source::{Source, Span};

/// Policies that were read and checked together last: the next set is loaded from what it has in common with them.
///
/// ```
/// use lictor_dsl::{Library, Source};
/// let mut library = Library::default();
/// let text = |limit: u32| format!("policy p {{}}\nrule big on intent {{ when amount > {limit} deny }}");
/// let before = library.load(vec![Source::new("p", text(10))]).expect("clean");
/// let after = library.load(vec![Source::new("p", text(20))]).expect("clean");
/// assert_ne!(before.policies[0].source_digest, after.policies[0].source_digest);
/// ```
#[derive(Debug, Default)]
pub struct Library {
    policies: Vec<Arc<Kept>>,
    schemas: Schemas,
}

/// A text that was read.
#[derive(Debug)]
struct Read {
    text: String,
    file: Arc<ast::File>,
    /// Where its declarations stand.
    spans: Vec<Span>,
    /// Whether it says what payloads look like.
    has_schemas: bool,
    /// Whether it names rules, which may be those of other policies.
    names_rules: bool,
}

/// What a source says, and what is kept of the policy of its name.
type Found<'k> = (Arc<Read>, Option<&'k Arc<Kept>>);

/// A policy that was checked.
#[derive(Debug)]
struct Kept {
    read: Arc<Read>,
    /// What it extends, nearest first.
    bases: Vec<Arc<Read>>,
    policy: Arc<hir::Policy>,
}

impl Library {
    /// Loads policies that will be active together, as [`crate::load`] does; the diagnostics if anything is wrong with
    /// them. Then what is kept stays that of the last set that was loaded. Places in the set are those at which a rule
    /// stood when it was checked.
    pub fn load(&mut self, sources: Vec<Source>) -> Result<hir::PolicySet, Checked> {
        if let Some(set) = self.again(&sources) {
            return Ok(set);
        }
        let checked = crate::load(sources);
        if checked.has_errors() { Err(checked) } else { Ok(checked.set) }
    }

    /// The set, if nothing is wrong with it.
    fn again(&mut self, sources: &[Source]) -> Option<hir::PolicySet> {
        let found = self.read(sources)?;
        let files: Vec<Arc<ast::File>> = found.iter().map(|(read, _)| Arc::clone(&read.file)).collect();
        let mut said = Vec::new();
        let chains = template::chains(&files, &mut said);
        let with_schemas = found.iter().filter(|(read, _)| read.has_schemas);
        let schemas = schema::all(with_schemas.map(|(read, _)| read.file.as_ref()));
        let same_schemas = schemas == self.schemas;
        let same_names = !found.iter().any(|(read, _)| read.names_rules)
            || found.len() == self.policies.len()
                && found
                    .iter()
                    .all(|(read, before)| before.is_some_and(|before| before.names_the_same(read)));
        let of_chain = |chain: &template::Chain| -> Vec<Arc<Read>> {
            let bases = chain.bases.iter().filter_map(|number| found.get(*number));
            bases.map(|(read, _)| Arc::clone(read)).collect()
        };
        let leans: Vec<(usize, Vec<Arc<Read>>)> = chains.iter().map(of_chain).enumerate().collect();
        let is_same = |number: usize, bases: &[Arc<Read>]| {
            let (read, before) = found.get(number)?;
            let before = before.filter(|before| same_schemas && before.extends(bases))?;
            let same = Arc::ptr_eq(&before.read, read) && (same_names || !read.names_rules);
            same.then(|| Arc::clone(before))
        };
        let mut kept: Vec<Option<Arc<Kept>>> =
            leans.iter().map(|(number, bases)| is_same(*number, bases)).collect();
        let changed: Vec<&(usize, Vec<Arc<Read>>)> =
            leans.iter().zip(&kept).filter(|(_, kept)| kept.is_none()).map(|(leans, _)| leans).collect();
        let asks_names = |(number, _): &&(usize, Vec<Arc<Read>>)| {
            found.get(*number).is_some_and(|(read, _)| read.names_rules)
        };
        let rules = if changed.iter().any(asks_names) { name_rules(&files) } else { Rules::new() };
        let rule_names: Vec<String> = rules.keys().cloned().collect();
        let checked = parallel::map(&changed, |(number, bases)| {
            let (read, before) = found.get(*number)?;
            let same = |before: &&Arc<Kept>| {
                same_schemas && before.extends(bases) && before.declares_the_same(&read.file)
            };
            let checked = before.filter(same).map(|before| before.rules()).unwrap_or_default();
            let known = Known {
                rules: &rules,
                rule_names: &rule_names,
                schemas: &schemas,
                files: &files,
                lines: &[],
                chain: chains.get(*number)?,
                checked: &checked,
            };
            let (mut used, mut said) = (Names::default(), Vec::new());
            let policy =
                policy(*number as u32, &read.file, sources.get(*number)?, known, &mut used, &mut said)?;
            let sound = said.iter().all(|diagnostic| diagnostic.severity != Severity::Error);
            let (read, bases, policy) = (Arc::clone(read), bases.clone(), Arc::new(policy));
            sound.then(|| Arc::new(Kept { read, bases, policy }))
        });
        for ((number, _), checked) in changed.into_iter().zip(checked) {
            *kept.get_mut(*number)? = Some(checked?);
        }
        let policies: Vec<Arc<Kept>> = kept.into_iter().collect::<Option<_>>()?;
        let mut names = HashSet::new();
        let sound = said.iter().all(|diagnostic| diagnostic.severity != Severity::Error)
            && policies.iter().all(|kept| names.insert(kept.policy.name.as_str()));
        sound.then(|| {
            let set =
                hir::PolicySet { policies: policies.iter().map(|kept| Arc::clone(&kept.policy)).collect() };
            (self.policies, self.schemas) = (policies, schemas);
            set
        })
    }

    /// Reads the sources, each with what is kept of the policy of its name; none if one can't be read.
    fn read(&self, sources: &[Source]) -> Option<Vec<Found<'_>>> {
        let mut by_text: HashMap<(usize, &str), Vec<&Arc<Kept>>> = HashMap::new();
        for kept in &self.policies {
            by_text.entry(mark(&kept.read.text)).or_default().push(kept);
        }
        let find = |source: &Source| {
            let alike = by_text.get(&mark(&source.text)).into_iter().flatten().copied();
            alike.into_iter().find(|kept| kept.read.text == source.text)
        };
        let mut found: Vec<Option<Found<'_>>> = sources
            .iter()
            .map(|source| find(source).map(|kept| (Arc::clone(&kept.read), Some(kept))))
            .collect();
        let new: Vec<(usize, &Source)> = sources
            .iter()
            .enumerate()
            .filter(|(number, _)| matches!(found.get(*number), Some(None)))
            .collect();
        let by_name: BTreeMap<&str, &Arc<Kept>> =
            self.policies.iter().map(|kept| (kept.policy.name.as_str(), kept)).collect();
        let read = parallel::map(&new, |(number, source)| {
            let before = declared_policy(&source.text).and_then(|name| by_name.get(name).copied());
            let known = before.map(|before| before.read.items()).unwrap_or_default();
            let read = Read::new(*number as u32, &source.text, &known)?;
            let name = header(&read.file).map(|header| header.name.value.as_str());
            let before = before.filter(|before| name == Some(before.policy.name.as_str()));
            Some((Arc::new(read), before))
        });
        for ((number, _), read) in new.into_iter().zip(read) {
            *found.get_mut(number)? = Some(read?);
        }
        found.into_iter().collect()
    }
}

/// What tells most texts apart.
fn mark(text: &str) -> (usize, &str) {
    const BEGINNING: usize = 64;
    (text.len(), text.get(..BEGINNING).unwrap_or_default())
}

/// The name of the policy that a text seems to declare: where to look for what is known of it.
fn declared_policy(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(str::trim_start);
    lines.find_map(|line| {
        let rest = line.strip_prefix("policy ").or_else(|| line.strip_prefix("template "))?;
        rest.trim_start().split(|c: char| c != '_' && !c.is_alphanumeric()).next()
    })
}

impl Read {
    fn new(number: u32, text: &str, known: &HashMap<&str, &Arc<Item>>) -> Option<Read> {
        let (file, spans) = parse_again(number, text, known)?;
        let has = |wanted: fn(&ItemKind) -> bool| file.items.iter().any(|item| wanted(&item.kind));
        Some(Read {
            text: text.to_owned(),
            has_schemas: has(|kind| matches!(kind, ItemKind::Schema(_))),
            names_rules: has(|kind| matches!(kind, ItemKind::Exempt(_) | ItemKind::Test(_))),
            file: Arc::new(file),
            spans,
        })
    }

    /// Its declarations by their text.
    fn items(&self) -> HashMap<&str, &Arc<Item>> {
        let texts = self.spans.iter().map(|span| span.of(&self.text));
        texts.zip(&self.file.items).collect()
    }
}

impl Kept {
    fn extends(&self, bases: &[Arc<Read>]) -> bool {
        self.bases.len() == bases.len() && self.bases.iter().zip(bases).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Whether a new text of the policy has the same rules by name, for the same kinds of event.
    fn names_the_same(&self, new: &Arc<Read>) -> bool {
        let names = |file: &'_ Arc<ast::File>| name_rules(std::slice::from_ref(file));
        Arc::ptr_eq(&self.read, new) || names(&self.read.file) == names(&new.file)
    }

    /// Whether a new text of the policy has the same header, parameters, lists and macros.
    fn declares_the_same(&self, new: &ast::File) -> bool {
        fn declared(file: &ast::File) -> impl Iterator<Item = &Arc<Item>> {
            let is = |kind: &ItemKind| {
                matches!(
                    kind,
                    ItemKind::Header(_) | ItemKind::Param(_) | ItemKind::List(_) | ItemKind::Def(_)
                )
            };
            file.items.iter().filter(move |item| is(&item.kind))
        }
        declared(&self.read.file).map(Arc::as_ptr).eq(declared(new).map(Arc::as_ptr))
    }

    /// Its rules, by where their declarations stand in memory: there they stay while they are kept.
    fn rules(&self) -> HashMap<usize, &Arc<hir::Rule>> {
        let declared = self.read.file.items.iter().filter(|item| matches!(item.kind, ItemKind::Rule(_)));
        declared.map(|item| Arc::as_ptr(item) as usize).zip(&self.policy.rules).collect()
    }
}
