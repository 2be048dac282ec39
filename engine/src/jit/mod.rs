//! Plan to machine code: a unit of up to 64 rules of one policy is one module, kept by what it means.

pub(crate) mod abi;
pub(crate) mod code;
mod runtime;
mod translate;
pub(crate) mod unit;

use std::sync::{Arc, LazyLock};

use cranelift_codegen::ir::{AbiParam, InstBuilder, types};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, ModuleError, default_libcall_names};

use code::Code;
use translate::Translator;
use unit::Unit;

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
    let isa = MACHINE.as_ref().map_err(|reason| CompileError::Machine(reason.clone()))?;
    let mut builder = JITBuilder::with_isa(isa.clone(), default_libcall_names());
    builder.symbol(runtime::PREDICATE, runtime::predicate as *const u8);
    builder.symbol(runtime::ASK, runtime::ask as *const u8);
    let mut module = JITModule::new(builder);
    match define(&mut module, unit) {
        Ok(addresses) => Ok(Arc::new(Code::new(module, &addresses))),
        Err(error) => {
            // Dropping it as code frees its memory.
            drop(Code::new(module, &[]));
            Err(CompileError::Generate(Box::new(error)))
        }
    }
}

fn define(module: &mut JITModule, unit: &Unit) -> Result<Vec<*const u8>, ModuleError> {
    let pointer = module.target_config().pointer_type();
    let mut evaluator = module.make_signature();
    evaluator.params.extend([AbiParam::new(pointer), AbiParam::new(types::I64)]);
    evaluator.returns.push(AbiParam::new(types::I8).uext());
    let evaluator = module.declare_function(runtime::PREDICATE, Linkage::Import, &evaluator)?;
    let mut asking = module.make_signature();
    asking.params.extend([AbiParam::new(pointer), AbiParam::new(types::I64)]);
    let asking = module.declare_function(runtime::ASK, Linkage::Import, &asking)?;
    let mut signature = module.make_signature();
    signature.params.extend([AbiParam::new(pointer), AbiParam::new(pointer)]);
    signature.returns.push(AbiParam::new(types::I8).uext());
    let mut context = module.make_context();
    let mut functions = FunctionBuilderContext::new();
    let mut ids = Vec::new();
    for (number, condition) in unit.conditions.iter().enumerate() {
        let id = module.declare_function(&format!("rule_{number}"), Linkage::Local, &signature)?;
        context.func.signature = signature.clone();
        let predicate = module.declare_func_in_func(evaluator, &mut context.func);
        let ask = module.declare_func_in_func(asking, &mut context.func);
        let mut builder = FunctionBuilder::new(&mut context.func, &mut functions);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        if let [call, tables] = *builder.block_params(entry) {
            let mut translator = Translator { builder: &mut builder, call, tables, predicate, ask };
            let answer = translator.condition(condition);
            builder.ins().return_(&[answer]);
        }
        builder.seal_all_blocks();
        builder.finalize(module.target_config());
        module.define_function(id, &mut context)?;
        module.clear_context(&mut context);
        ids.push(id);
    }
    module.finalize_definitions()?;
    Ok(ids.into_iter().map(|id| module.get_finalized_function(id)).collect())
}
