//! The names that one policy declares, and which of them were used.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ast;
use crate::diagnostics::{Diagnostic, Severity};
use crate::hir::{Const, Expr, PatternList, Var};
use crate::parse::DIAGNOSTICS_LIMIT;
use crate::source::Span;
use crate::types::Type;

/// What a bound name stands for inside an expression.
pub(super) enum Binding {
    /// A `let`, or an argument of a macro.
    Value(Expr),
    /// A variable of a quantifier.
    Variable(Var, Type),
}

/// What a declared name stands for.
#[derive(Clone)]
pub(super) enum Named {
    /// A parameter.
    Param {
        /// Its name, behind that of its policy.
        full: String,
        /// Its type.
        ty: Type,
        /// What it can be.
        range: Option<(Const, Const)>,
    },
    /// A list of plain values.
    Values(Const, Type),
    /// A list of patterns.
    Patterns(Arc<PatternList>),
    /// A macro.
    Macro,
}

/// The names of one policy.
pub(super) struct Scope<'a> {
    /// The policy's name.
    pub policy: String,
    declared: BTreeMap<String, (Named, Span)>,
    macros: BTreeMap<String, &'a ast::Def>,
    used: BTreeSet<String>,
    /// Names whose declarations could not be read: what uses them is not to blame.
    pub broken: &'a [String],
    /// What policies say of payloads.
    pub schemas: &'a super::schema::Schemas,
    variables: u32,
    /// The number of its source.
    pub source: u32,
    /// How many errors were reported here.
    errors: usize,
    out: &'a mut Vec<Diagnostic>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        policy: String,
        source: u32,
        broken: &'a [String],
        schemas: &'a super::schema::Schemas,
        out: &'a mut Vec<Diagnostic>,
    ) -> Scope<'a> {
        Scope {
            policy,
            broken,
            schemas,
            declared: BTreeMap::new(),
            macros: BTreeMap::new(),
            used: BTreeSet::new(),
            variables: 0,
            source,
            errors: 0,
            out,
        }
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.severity == Severity::Error);
        self.out.push(diagnostic);
    }

    /// Reports that a name means nothing, unless its declaration could not be read.
    pub(super) fn report_unknown(&mut self, name: &str, diagnostic: Diagnostic) {
        let own = name.rsplit('.').next().unwrap_or(name);
        if !self.broken.iter().any(|broken| broken == own) {
            self.report(diagnostic);
        }
    }

    /// Whether something is wrong with this file already, so that warnings about the whole could mislead.
    pub(super) fn has_errors(&self) -> bool {
        let own = |diagnostic: &&Diagnostic| diagnostic.span.source == self.source;
        self.out.iter().filter(own).any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Whether so many errors were reported that nobody mends more at once, and checking on would only take time.
    pub(super) fn is_full(&self) -> bool {
        self.errors > DIAGNOSTICS_LIMIT
    }

    /// Forgets what was reported since there were this many diagnostics: it has been said where it belongs.
    pub(super) fn unsay(&mut self, length: usize) {
        let forgotten = self.out.drain(length.min(self.out.len())..);
        self.errors -= forgotten.filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    }

    /// How many diagnostics there are.
    pub(super) fn said(&self) -> usize {
        self.out.len()
    }

    /// Declares a name; if it is taken, says where it was declared first.
    pub(super) fn declare(&mut self, name: &ast::Name, named: Named) -> Result<(), Span> {
        if let Some((_, first)) = self.declared.get(&name.value) {
            return Err(*first);
        }
        self.declared.insert(name.value.clone(), (named, name.span));
        Ok(())
    }

    pub(super) fn declare_macro(&mut self, def: &'a ast::Def) -> Result<(), Span> {
        self.declare(&def.name, Named::Macro)?;
        self.macros.insert(def.name.value.clone(), def);
        Ok(())
    }

    /// What a name stands for, which counts as a use.
    pub(super) fn named(&mut self, name: &str) -> Option<Named> {
        let (named, _) = self.declared.get(name)?;
        self.used.insert(name.to_owned());
        Some(named.clone())
    }

    /// What a name stands for.
    pub(super) fn peek(&self, name: &str) -> Option<Named> {
        self.declared.get(name).map(|(named, _)| named.clone())
    }

    pub(super) fn def(&mut self, name: &str) -> Option<&'a ast::Def> {
        let def = self.macros.get(name).copied()?;
        self.used.insert(name.to_owned());
        Some(def)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.declared.keys().map(String::as_str)
    }

    pub(super) fn macros(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.macros.values().map(|def| def.name.value.as_str()).collect::<Vec<_>>().into_iter()
    }

    /// Counts variables anew: those of one rule are told apart, and no rule depends on those before it.
    pub(super) fn forget_variables(&mut self) {
        self.variables = 0;
    }

    pub(super) fn next_variable(&mut self) -> u32 {
        self.variables += 1;
        self.variables
    }

    /// Names of this policy that nothing in it used: where, what they are, and how they are called.
    pub(super) fn unused(&self) -> Vec<(Span, &'static str, String)> {
        let own = self.declared.iter().filter(|(_, (_, span))| span.source == self.source);
        own.filter(|(name, _)| !self.used.contains(*name))
            .map(|(name, (named, span))| {
                let what = match named {
                    Named::Param { .. } => "parameter",
                    Named::Values(..) | Named::Patterns(_) => "list",
                    Named::Macro => "macro",
                };
                (*span, what, name.clone())
            })
            .collect()
    }

    /// Where the names stand that came with `extends` and were used.
    pub(super) fn used_of_others(&self) -> impl Iterator<Item = Span> {
        let used = self.used.iter().filter_map(|name| self.declared.get(name));
        used.map(|(_, span)| *span).filter(|span| span.source != self.source)
    }
}
