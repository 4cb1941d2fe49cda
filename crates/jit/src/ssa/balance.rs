//! Sums over the rounds of a loop, made in pairs: `sum + a + b + c + d` waits for four additions
//! in each round, `sum + ((a + b) + (c + d))` for one.
//!
//! Where a block that leads back to itself adds several values to a parameter in a row, the values
//! are added up first, like the digits of a binary counter, so that few are alive at a time. The
//! same holds for the other operations whose order does not matter.

use super::ir::{Bin, BlockId, Func, Op, Val};
use skep_bpf::op::Width;

/// The fewest operations in a row.
const FEWEST: usize = 3;

/// Balances the sums of loops of one block.
pub(crate) fn balance(func: &mut Func, order: &[BlockId]) {
    let mut uses: Option<Vec<u32>> = None;
    for &id in order {
        for index in 0..func.blocks[id.index()].params.len() {
            if !func.blocks[id.index()].term.edges().any(|edge| edge.to == id) {
                break;
            }
            let uses = uses.get_or_insert_with(|| func.use_counts(order));
            let Some(sum) = Sum::find(func, uses, id, index) else { continue };
            sum.balance(func, id);
        }
    }
}

/// A row of operations from a parameter on.
struct Sum {
    op: (Bin, Width),
    param: Val,
    /// The operations, the first before the last, and what each adds.
    steps: Vec<(Val, Val)>,
}

impl Sum {
    fn find(func: &Func, uses: &[u32], id: BlockId, index: usize) -> Option<Sum> {
        let block = &func.blocks[id.index()];
        let param = block.params[index];
        let back = block.term.edges().find(|edge| edge.to == id)?;
        let last = back.args[index];
        let Op::Binary(bin, width, ..) = func.op(last) else { return None };
        if !matches!(bin, Bin::Add | Bin::Xor | Bin::Or | Bin::And) {
            return None;
        }
        let op = (bin, width);
        // A row holds its operations in the block's order, so a walk down the block finds it.
        let mut steps: Vec<(Val, Val)> = Vec::new();
        let mut now = param;
        for &value in &block.nodes {
            let Op::Binary(bin, width, a, b) = func.op(value) else { continue };
            if (bin, width) != op || (a != now && b != now) || a == b {
                continue;
            }
            // Nobody else may look at what is in between.
            let read_once = uses.get(now.index()) == Some(&1);
            if !read_once {
                return None;
            }
            steps.push((value, if a == now { b } else { a }));
            now = value;
            if now == last {
                break;
            }
        }
        (now == last && steps.len() >= FEWEST).then_some(Sum { op, param, steps })
    }

    fn balance(self, func: &mut Func, id: BlockId) {
        let (bin, width) = self.op;
        let old = std::mem::take(&mut func.blocks[id.index()].nodes);
        let mut nodes = Vec::with_capacity(old.len());
        // Sums of so many values.
        let mut waiting: Vec<(Val, u32)> = Vec::new();
        let mut steps = self.steps.into_iter().peekable();
        for value in old {
            let Some((step, added)) = steps.next_if(|(step, _)| *step == value) else {
                nodes.push(value);
                continue;
            };
            let pc = func.nodes[step.index()].pc;
            let is_last = steps.peek().is_none();
            waiting.push((added, 1));
            while let [.., (a, of_a), (b, of_b)] = waiting[..]
                && (of_a == of_b || is_last)
            {
                let sum = func.make(Op::Binary(bin, width, a, b), pc);
                nodes.push(sum);
                waiting.truncate(waiting.len() - 2);
                waiting.push((sum, of_a + of_b));
            }
            if is_last && let Some((sum, _)) = waiting.pop() {
                func.nodes[step.index()].op = Op::Binary(bin, width, self.param, sum);
                nodes.push(step);
            }
        }
        func.blocks[id.index()].nodes = nodes;
    }
}
