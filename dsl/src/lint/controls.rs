//! Controls of frameworks that nobody knows: a report would list them under nothing.

use std::sync::Arc;

use crate::ast::{self, Clause, ExprKind, ItemKind, Piece, Value};
use crate::diagnostics::{Diagnostic, lints};

/// What stands before the `:` of a control, by framework. `ORG` is for an organisation's own.
const FRAMEWORKS: [&str; 22] = [
    "BASE",
    "CO-ADMT",
    "CSA-AICM",
    "CSA-MAESTRO",
    "DORA",
    "EU-AI-ACT",
    "FIN",
    "GDPR",
    "HIPAA",
    "ISO-27001",
    "ISO-42001",
    "MITRE-ATLAS",
    "NIST-AI-600-1",
    "NIST-AI-RMF",
    "ORG",
    "OWASP-ASI",
    "OWASP-LLM",
    "PCI",
    "PCI-DSS",
    "SG-MGF",
    "SOC2",
    "SOX",
];

/// Reports controls whose framework is not known.
pub(super) fn check(files: &[Arc<ast::File>], out: &mut Vec<Diagnostic>) {
    for item in files.iter().flat_map(|file| &file.items) {
        match &item.kind {
            ItemKind::Header(header) => {
                let settings = header.settings.iter().filter(|(key, _)| key.value == "controls");
                for (_, value) in settings {
                    if let Value::List(values, _) = value {
                        report(values, out);
                    }
                }
            }
            ItemKind::Rule(rule) => {
                for clause in &rule.clauses {
                    if let Clause::Controls(values) = &clause.value {
                        report(values, out);
                    }
                }
            }
            _ => {}
        }
    }
}

fn report(values: &[Value], out: &mut Vec<Diagnostic>) {
    for value in values {
        let Value::Expr(expr) = value else { continue };
        let ExprKind::String(pieces) = &expr.kind else { continue };
        let [Piece::Text(control)] = pieces.as_slice() else { continue };
        let unknown = |framework: &str| !FRAMEWORKS.contains(&framework);
        if control.split_once(':').is_some_and(|(framework, _)| unknown(framework)) {
            out.push(lints::unknown_control(expr.span, control, &FRAMEWORKS));
        }
    }
}
