//! Plan to machine code: a unit of up to 64 rules of one policy is one module, kept by what it means.

pub(crate) mod abi;
pub(crate) mod code;
pub(crate) mod machine;
mod runtime;
#[cfg(test)]
mod tests;
mod translate;
pub(crate) mod unit;

use std::sync::{Arc, LazyLock};

use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, Value, types};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, ModuleError, default_libcall_names};

use code::{Addresses, Code};
use translate::Translator;
use unit::{LocalCond, Unit};

/// Why a unit could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// This processor is not supported.
    #[error("this machine is not supported: {0}")]
    Machine(String),
    /// The code generator refused.
    #[error("code can't be generated")]
    Generate(#[from] Box<ModuleError>),
}

/// The code generator for this machine. Optimising gave no faster code here and takes up to eleven times as long.
static MACHINE: LazyLock<Result<OwnedTargetIsa, String>> = LazyLock::new(|| {
    let mut flags = settings::builder();
    let verify = if cfg!(debug_assertions) { "true" } else { "false" };
    for (name, value) in [
        ("opt_level", "none"),
        ("enable_verifier", verify),
        ("is_pic", "false"),
        ("use_colocated_libcalls", "false"),
    ] {
        flags.set(name, value).map_err(|error| error.to_string())?;
    }
    let builder = cranelift_native::builder().map_err(str::to_owned)?;
    builder.finish(settings::Flags::new(flags)).map_err(|error| error.to_string())
});

/// Compiles one unit.
pub(crate) fn compile(unit: &Unit) -> Result<Arc<Code>, CompileError> {
    #[cfg(test)]
    tests::failure()?;
    let isa = MACHINE.as_ref().map_err(|reason| CompileError::Machine(reason.clone()))?;
    let mut builder = JITBuilder::with_isa(isa.clone(), default_libcall_names());
    builder.symbol(runtime::PREDICATE, runtime::predicate as *const u8);
    builder.symbol(runtime::ASK, runtime::ask as *const u8);
    let mut module = JITModule::new(builder);
    match define(&mut module, unit) {
        Ok(addresses) => Ok(Arc::new(Code::new(module, &addresses))),
        Err(error) => {
            // Dropping it as code frees its memory.
            drop(Code::new(module, &Addresses::default()));
            Err(CompileError::Generate(Box::new(error)))
        }
    }
}

/// The functions that compiled code calls.
#[derive(Clone, Copy)]
struct Imports {
    predicate: FuncId,
    ask: FuncId,
}

fn define(module: &mut JITModule, unit: &Unit) -> Result<Addresses, ModuleError> {
    let pointer = module.target_config().pointer_type();
    let mut evaluator = module.make_signature();
    evaluator.params.extend([AbiParam::new(pointer), AbiParam::new(types::I64)]);
    let mut asking = evaluator.clone();
    asking.returns.clear();
    evaluator.returns.push(AbiParam::new(types::I8).uext());
    let imports = Imports {
        predicate: module.declare_function(runtime::PREDICATE, Linkage::Import, &evaluator)?,
        ask: module.declare_function(runtime::ASK, Linkage::Import, &asking)?,
    };
    let mut alone = module.make_signature();
    alone.params.extend([AbiParam::new(pointer), AbiParam::new(pointer)]);
    let mut sweep = alone.clone();
    alone.returns.push(AbiParam::new(types::I8).uext());
    sweep.params.extend([AbiParam::new(types::I64), AbiParam::new(pointer)]);
    let mut entries = Vec::new();
    let mut functions = FunctionBuilderContext::new();
    let rules = || unit.conditions.iter().zip(&unit.calls).enumerate();
    for (number, (condition, calls)) in rules() {
        if !calls.alone {
            entries.push(None);
            continue;
        }
        let name = format!("rule_{number}");
        entries.push(Some(function(module, &mut functions, imports, &name, &alone, |translator, _| {
            let answer = translator.condition(condition);
            translator.builder.ins().return_(&[answer]);
        })?));
    }
    let swept: Vec<(usize, &LocalCond)> =
        rules().filter(|(_, (_, calls))| calls.swept).map(|(number, (cond, _))| (number, cond)).collect();
    let sweep = match swept.as_slice() {
        [] => None,
        swept => Some(function(module, &mut functions, imports, "sweep", &sweep, |translator, rest| {
            if let [wanted, truths] = *rest {
                translator.sweep(swept, wanted, truths);
            }
            translator.builder.ins().return_(&[]);
        })?),
    };
    module.finalize_definitions()?;
    let address = |id: FuncId| module.get_finalized_function(id);
    Ok(Addresses {
        entries: entries.into_iter().map(|id| id.map(address)).collect(),
        sweep: sweep.map(address),
    })
}

/// Defines a function; `body` gets the parameters behind the `Call` and the `Tables`.
fn function(
    module: &mut JITModule,
    functions: &mut FunctionBuilderContext,
    imports: Imports,
    name: &str,
    signature: &Signature,
    body: impl FnOnce(&mut Translator<'_, '_>, &[Value]),
) -> Result<FuncId, ModuleError> {
    let id = module.declare_function(name, Linkage::Local, signature)?;
    let mut context = module.make_context();
    context.func.signature = signature.clone();
    let predicate = module.declare_func_in_func(imports.predicate, &mut context.func);
    let ask = module.declare_func_in_func(imports.ask, &mut context.func);
    let mut builder = FunctionBuilder::new(&mut context.func, functions);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let parameters = builder.block_params(entry).to_vec();
    if let [call, tables, ref rest @ ..] = parameters[..] {
        body(&mut Translator::new(&mut builder, call, tables, predicate, ask), rest);
    }
    builder.seal_all_blocks();
    builder.finalize(module.target_config());
    module.define_function(id, &mut context)?;
    Ok(id)
}
