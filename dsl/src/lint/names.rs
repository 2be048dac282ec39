//! Names that a policy can't give: calls of them would mean something else.

use crate::ast::ItemKind;
use crate::diagnostics::{Diagnostic, names};
use crate::hir::{Builtin, MemoryOperator};

/// Reports a declaration whose name is taken by the language.
pub(crate) fn check(item: &ItemKind, mut report: impl FnMut(Diagnostic)) {
    let (name, called) = match item {
        ItemKind::Param(param) => (&param.name, false),
        ItemKind::List(list) => (&list.name, false),
        ItemKind::Def(def) => (&def.name, true),
        _ => return,
    };
    let is_memory = MemoryOperator::NAMES.iter().any(|(known, _)| *known == name.value);
    // Functions are only ever called, so a parameter of such a name can still be read.
    let is_function = called && Builtin::NAMES.iter().any(|(known, _)| *known == name.value);
    if is_memory {
        report(names::reserved(name.span, &name.value, "an operator over earlier events"));
    } else if is_function {
        report(names::reserved(name.span, &name.value, "a function of the language"));
    }
}
