//! Plan to machine code: a routine for each form of rule, kept by what it means, so many to a module.

pub(crate) mod abi;
pub(crate) mod code;
pub(crate) mod machine;
mod runtime;
#[cfg(test)]
mod tests;
mod translate;
pub(crate) mod unit;

use std::sync::{Arc, LazyLock};

use cranelift_codegen::Context;
use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, Value, types};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, ModuleError, default_libcall_names};

use code::{Address, Code};
use translate::Translator;
use unit::Routine;

/// Why a routine could not be compiled.
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

/// Compiles some routines into one module, each one function.
pub(crate) fn compile(routines: &[&Routine]) -> Result<Arc<Code>, CompileError> {
    #[cfg(test)]
    tests::failure()?;
    let isa = MACHINE.as_ref().map_err(|reason| CompileError::Machine(reason.clone()))?;
    let mut builder = JITBuilder::with_isa(isa.clone(), default_libcall_names());
    builder.symbol(runtime::PREDICATE, runtime::predicate as *const u8);
    builder.symbol(runtime::ASK, runtime::ask as *const u8);
    let mut module = JITModule::new(builder);
    match define(&mut module, routines) {
        Ok(addresses) => Ok(Arc::new(Code::new(module, &addresses))),
        Err(error) => {
            // Dropping it as code frees its memory.
            drop(Code::new(module, &[]));
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

fn define(module: &mut JITModule, routines: &[&Routine]) -> Result<Vec<Address>, ModuleError> {
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
    let mut maker =
        Maker { context: module.make_context(), module, functions: FunctionBuilderContext::new(), imports };
    let mut made = Vec::new();
    for (number, routine) in routines.iter().enumerate() {
        let name = format!("routine_{number}");
        made.push(match routine {
            Routine::Alone(condition) => maker.function(&name, &alone, |translator, _| {
                let answer = translator.condition(condition);
                translator.builder.ins().return_(&[answer]);
            })?,
            Routine::Sweep(conditions) => maker.function(&name, &sweep, |translator, rest| {
                let conditions: Vec<_> = conditions.iter().enumerate().collect();
                if let [wanted, truths] = *rest {
                    translator.sweep(&conditions, wanted, truths);
                }
                translator.builder.ins().return_(&[]);
            })?,
        });
    }
    module.finalize_definitions()?;
    let addresses = made.into_iter().map(|id| module.get_finalized_function(id));
    Ok(addresses
        .zip(routines)
        .map(|(address, routine)| match routine {
            Routine::Alone(_) => Address::Alone(address),
            Routine::Sweep(_) => Address::Sweep(address),
        })
        .collect())
}

/// What making functions needs, reused for each.
struct Maker<'m> {
    module: &'m mut JITModule,
    context: Context,
    functions: FunctionBuilderContext,
    imports: Imports,
}

impl Maker<'_> {
    /// Defines a function; `body` gets the parameters behind the `Call` and the `Tables`.
    fn function(
        &mut self,
        name: &str,
        signature: &Signature,
        body: impl FnOnce(&mut Translator<'_, '_>, &[Value]),
    ) -> Result<FuncId, ModuleError> {
        let Maker { module, context, functions, imports } = self;
        let id = module.declare_function(name, Linkage::Local, signature)?;
        module.clear_context(context);
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
        module.define_function(id, context)?;
        Ok(id)
    }
}
