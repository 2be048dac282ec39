//! Conditions to Cranelift's intermediate form, one function for each kind of node.
//!
//! A truth is a byte: false 0, unknown 1, true 2. So `and` is the least, `or` the greatest, `not` 2 − x, and inline
//! tests need no branch. What must call the evaluator stands behind one branch that skips it once the answer is settled.

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, FuncRef, InstBuilder, MemFlagsData, Type, Value, types};
use cranelift_frontend::FunctionBuilder;
use lictor_dsl::hir::Comparison;

use super::abi;
use super::unit::LocalCond;
use crate::frame::{ANSWERED, NOT_ASKED, NOT_YET};
use crate::plan::{Operand, SLOTS, Shape};
use crate::truth::Truth;

/// Translates conditions into the body of a function.
pub(crate) struct Translator<'f, 'b> {
    pub builder: &'f mut FunctionBuilder<'b>,
    /// The `Call`.
    call: Value,
    /// The `Tables`.
    tables: Value,
    /// The evaluator.
    predicate: FuncRef,
    /// What asks a memory.
    ask: FuncRef,
    /// What was loaded in the entry block, and so is known everywhere.
    loaded: HashMap<(Value, i32, Type), Value>,
    /// Where the values inside json are, as far as that was worked out in the entry block.
    places: HashMap<usize, Value>,
    /// Whether that block is still being written.
    in_entry: bool,
}

/// Loads from slots and tables can't fault and are aligned.
fn plain() -> MemFlagsData {
    MemFlagsData::trusted()
}

impl<'f, 'b> Translator<'f, 'b> {
    pub(crate) fn new(
        builder: &'f mut FunctionBuilder<'b>,
        call: Value,
        tables: Value,
        predicate: FuncRef,
        ask: FuncRef,
    ) -> Translator<'f, 'b> {
        Translator {
            builder,
            call,
            tables,
            predicate,
            ask,
            loaded: HashMap::new(),
            places: HashMap::new(),
            in_entry: true,
        }
    }

    /// The conditions of several rules, each as a byte at its place. First those that need no branch; then the others,
    /// if they are wanted.
    pub(crate) fn sweep(&mut self, rules: &[(usize, &LocalCond)], wanted: Value, truths: Value) {
        let (quick, slow): (Vec<_>, Vec<_>) = rules.iter().partition(|(_, condition)| is_quick(condition));
        for (place, condition) in quick {
            let truth = self.condition(condition);
            self.builder.ins().store(plain(), truth, truths, place as i32);
        }
        for (place, condition) in slow {
            let bit = self.builder.ins().band_imm_u(wanted, 1i64 << place);
            let (evaluate, next) = (self.block(), self.block());
            self.builder.ins().brif(bit, evaluate, &[], next, &[]);
            self.enter(evaluate);
            let truth = self.condition(condition);
            self.builder.ins().store(plain(), truth, truths, place as i32);
            self.builder.ins().jump(next, &[]);
            self.enter(next);
        }
    }

    fn block(&mut self) -> Block {
        self.builder.create_block()
    }

    /// Goes on in another block than the entry.
    fn enter(&mut self, block: Block) {
        self.builder.switch_to_block(block);
        self.in_entry = false;
    }

    /// A value that no call changes, loaded once.
    fn load(&mut self, ty: Type, from: Value, offset: i32) -> Value {
        if let Some(known) = self.loaded.get(&(from, offset, ty)) {
            return *known;
        }
        let value = self.builder.ins().load(ty, plain(), from, offset);
        if self.in_entry {
            self.loaded.insert((from, offset, ty), value);
        }
        value
    }

    /// A condition as a byte.
    pub(crate) fn condition(&mut self, condition: &LocalCond) -> Value {
        match condition {
            LocalCond::Const(value) => self.truth((*value).into()),
            LocalCond::Inline(shape) => self.inline(shape),
            LocalCond::Called(place) => self.called(*place),
            LocalCond::Not(inner) => {
                let inner = self.condition(inner);
                let two = self.truth(Truth::True);
                self.builder.ins().isub(two, inner)
            }
            LocalCond::And(parts) => self.chain(parts, true),
            LocalCond::Or(parts) => self.chain(parts, false),
        }
    }

    fn truth(&mut self, truth: Truth) -> Value {
        self.builder.ins().iconst(types::I8, i64::from(truth as u8))
    }

    /// `and` or `or`: inline parts first, without branches; then the rest, until the answer is settled.
    fn chain(&mut self, parts: &[LocalCond], is_and: bool) -> Value {
        let (quick, slow): (Vec<_>, Vec<_>) = parts.iter().partition(|part| is_quick(part));
        let mut answer = self.truth(is_and.into());
        for part in quick {
            let part = self.condition(part);
            answer = self.combine(answer, part, is_and);
        }
        if slow.is_empty() {
            return answer;
        }
        let done = self.block();
        self.builder.append_block_param(done, types::I8);
        for part in slow {
            let settled = self.builder.ins().icmp_imm_s(IntCC::Equal, answer, if is_and { 0 } else { 2 });
            let next = self.block();
            self.builder.ins().brif(settled, done, &[answer.into()], next, &[]);
            self.enter(next);
            let part = self.condition(part);
            answer = self.combine(answer, part, is_and);
        }
        self.builder.ins().jump(done, &[answer.into()]);
        self.enter(done);
        self.builder.block_params(done).first().copied().unwrap_or(answer)
    }

    fn combine(&mut self, left: Value, right: Value, is_and: bool) -> Value {
        if is_and { self.builder.ins().umin(left, right) } else { self.builder.ins().umax(left, right) }
    }

    fn inline(&mut self, shape: &Shape) -> Value {
        match shape {
            Shape::Texts { slot, texts, absent } => {
                let found = self.slot(*slot, types::I32);
                let table = self.load(types::I64, self.tables, abi::TABLE_TEXTS);
                let mut any = self.truth(Truth::False);
                for text in texts {
                    let wanted = self.load(types::I32, table, *text as i32 * 8);
                    let equal = self.builder.ins().icmp(IntCC::Equal, found, wanted);
                    any = self.builder.ins().bor(any, equal);
                }
                self.if_present(*slot, any, *absent)
            }
            Shape::Number { slot, comparison, operand, absent } => {
                let value = self.slot(*slot, types::I128);
                let operand = self.operand(operand);
                let holds = self.builder.ins().icmp(condition_code(*comparison), value, operand);
                self.if_present(*slot, holds, *absent)
            }
            Shape::Bool { slot, wanted, absent } => {
                let value = self.slot(*slot, types::I64);
                let holds = self.builder.ins().icmp_imm_s(IntCC::Equal, value, i64::from(*wanted));
                self.if_present(*slot, holds, *absent)
            }
            Shape::Mask { slot, mask, all } => {
                let table = self.load(types::I64, self.tables, abi::TABLE_MASKS);
                let wanted = self.load(types::I128, table, *mask as i32 * 16);
                let found = self.slot(*slot, types::I128);
                let common = self.builder.ins().band(found, wanted);
                let holds = if *all {
                    self.builder.ins().icmp(IntCC::Equal, common, wanted)
                } else {
                    let zero = self.operand(&Operand::Const(0));
                    self.builder.ins().icmp(IntCC::NotEqual, common, zero)
                };
                self.doubled(holds)
            }
            Shape::Present { slot } => {
                let holds = self.present(*slot);
                self.doubled(holds)
            }
            Shape::Answer { question, comparison, operand } => {
                let operand = self.operand(operand);
                self.answer(*question, |f, least, most| f.bounded(*comparison, least, most, operand))
            }
            // Each bound is 0 or 1: both together are the truth.
            Shape::Happened { question } => self.answer(*question, |f, least, most| {
                let (least, most) =
                    (f.builder.ins().ireduce(types::I8, least), f.builder.ins().ireduce(types::I8, most));
                f.builder.ins().iadd(least, most)
            }),
            // Units only hold inline shapes here; an unknown answer is safe if that ever changes.
            Shape::Part { .. } | Shape::Called => self.truth(Truth::Unknown),
        }
    }

    fn slot(&mut self, slot: usize, ty: Type) -> Value {
        let (from, offset) = self.place(slot);
        self.load(ty, from, offset + abi::SLOT_VALUE)
    }

    /// 1 where the value is there, else 0.
    fn present(&mut self, slot: usize) -> Value {
        let (from, offset) = self.place(slot);
        self.load(types::I8, from, offset + abi::SLOT_PRESENT)
    }

    /// Where a slot is. What is taken out of json stands at another place in each generation.
    fn place(&mut self, slot: usize) -> (Value, i32) {
        let slots = self.load(types::I64, self.call, abi::CALL_SLOTS);
        let Some(taken) = slot.checked_sub(SLOTS) else { return (slots, slot as i32 * abi::SLOT_SIZE) };
        if let Some(place) = self.places.get(&taken) {
            return (*place, 0);
        }
        let table = self.load(types::I64, self.tables, abi::TABLE_TAKEN);
        let offset = self.load(types::I64, table, taken as i32 * 8);
        let place = self.builder.ins().iadd(slots, offset);
        if self.in_entry {
            self.places.insert(taken, place);
        }
        (place, 0)
    }

    /// A comparison's 0 or 1 as a truth; another truth where the field is absent.
    fn if_present(&mut self, slot: usize, holds: Value, absent: Truth) -> Value {
        let present = self.present(slot);
        let truth = self.doubled(holds);
        let otherwise = self.truth(absent);
        self.builder.ins().select(present, truth, otherwise)
    }

    fn doubled(&mut self, holds: Value) -> Value {
        self.builder.ins().iadd(holds, holds)
    }

    fn operand(&mut self, operand: &Operand) -> Value {
        match operand {
            Operand::Const(value) => {
                let low = self.builder.ins().iconst(types::I64, *value as i64);
                let high = self.builder.ins().iconst(types::I64, (*value >> 64) as i64);
                self.builder.ins().iconcat(low, high)
            }
            Operand::Param(place) => {
                let params = self.load(types::I64, self.tables, abi::TABLE_PARAMS);
                self.load(types::I128, params, *place as i32 * 16)
            }
        }
    }

    /// What a memory answers, asked where that was not done yet; unknown where there is no answer.
    fn answer(&mut self, question: usize, truth: impl FnOnce(&mut Self, Value, Value) -> Value) -> Value {
        let table = self.load(types::I64, self.tables, abi::TABLE_QUESTIONS);
        let number = self.builder.ins().load(types::I64, plain(), table, question as i32 * 8);
        let answers = self.load(types::I64, self.call, abi::CALL_ANSWERS);
        let offset = self.builder.ins().imul_imm_u(number, abi::HELD_SIZE);
        let held = self.builder.ins().iadd(answers, offset);
        let known = self.builder.ins().load(types::I64, plain(), held, abi::HELD_KNOWN);
        let (ask, done) = (self.block(), self.block());
        let not_asked = self.builder.ins().icmp_imm_u(IntCC::Equal, known, NOT_ASKED as i64);
        self.builder.ins().brif(not_asked, ask, &[], done, &[]);
        self.enter(ask);
        self.builder.ins().call(self.ask, &[self.call, number]);
        self.builder.ins().jump(done, &[]);
        self.enter(done);
        let known = self.builder.ins().load(types::I64, plain(), held, abi::HELD_KNOWN);
        let least = self.builder.ins().load(types::I128, plain(), held, abi::HELD_LEAST);
        let most = self.builder.ins().load(types::I128, plain(), held, abi::HELD_MOST);
        let answered = self.builder.ins().icmp_imm_u(IntCC::Equal, known, ANSWERED as i64);
        let truth = truth(self, least, most);
        let unknown = self.truth(Truth::Unknown);
        self.builder.ins().select(answered, truth, unknown)
    }

    /// A comparison of what lies between two bounds: true where it holds for all, false where it holds for none.
    fn bounded(&mut self, comparison: Comparison, least: Value, most: Value, operand: Value) -> Value {
        let mut holds = |code, value| self.builder.ins().icmp(code, value, operand);
        let (first, second) = match comparison {
            Comparison::Equal | Comparison::NotEqual | Comparison::Same => {
                let (low, high) = (
                    holds(IntCC::SignedLessThanOrEqual, least),
                    holds(IntCC::SignedGreaterThanOrEqual, most),
                );
                let (from, to) = (holds(IntCC::Equal, least), holds(IntCC::Equal, most));
                (self.builder.ins().band(low, high), self.builder.ins().band(from, to))
            }
            ordered => (holds(condition_code(ordered), least), holds(condition_code(ordered), most)),
        };
        self.builder.ins().iadd(first, second)
    }

    /// The remembered answer of a predicate, or a call to the evaluator.
    fn called(&mut self, place: usize) -> Value {
        let table = self.load(types::I64, self.tables, abi::TABLE_PREDICATES);
        let number = self.builder.ins().load(types::I64, plain(), table, place as i32 * 8);
        let memo = self.load(types::I64, self.call, abi::CALL_MEMO);
        let address = self.builder.ins().iadd(memo, number);
        // The evaluator writes this byte, so it is no constant to the optimiser.
        let known = self.builder.ins().load(types::I8, plain(), address, 0);
        let (call, done) = (self.block(), self.block());
        self.builder.append_block_param(done, types::I8);
        let not_yet = self.builder.ins().icmp_imm_u(IntCC::Equal, known, i64::from(NOT_YET));
        self.builder.ins().brif(not_yet, call, &[], done, &[known.into()]);
        self.enter(call);
        let result = self.builder.ins().call(self.predicate, &[self.call, number]);
        let answer = self.builder.inst_results(result).first().copied().unwrap_or(known);
        self.builder.ins().jump(done, &[answer.into()]);
        self.enter(done);
        self.builder.block_params(done).first().copied().unwrap_or(answer)
    }
}

/// Whether a part is answered without branches.
fn is_quick(part: &LocalCond) -> bool {
    match part {
        LocalCond::Inline(Shape::Answer { .. } | Shape::Happened { .. }) => false,
        LocalCond::Const(_) | LocalCond::Inline(_) => true,
        LocalCond::Called(_) => false,
        LocalCond::Not(inner) => is_quick(inner),
        LocalCond::And(parts) | LocalCond::Or(parts) => parts.iter().all(is_quick),
    }
}

fn condition_code(comparison: Comparison) -> IntCC {
    match comparison {
        Comparison::Equal | Comparison::Same => IntCC::Equal,
        Comparison::NotEqual => IntCC::NotEqual,
        Comparison::Less => IntCC::SignedLessThan,
        Comparison::LessOrEqual => IntCC::SignedLessThanOrEqual,
        Comparison::Greater => IntCC::SignedGreaterThan,
        Comparison::GreaterOrEqual => IntCC::SignedGreaterThanOrEqual,
    }
}
