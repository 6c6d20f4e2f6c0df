"""The C source of a cell: the fixed time loop around its printed stages."""

from __future__ import annotations

from longlag.kernels.compiler.plan import Plan, Term
from longlag.kernels.targets.c import emit
from longlag.kernels.targets.c.cmath import functions
from longlag.kernels.targets.c.resources import assemble
from longlag.kernels.targets.c.template import COMMON, HEADER
from longlag.kernels.targets.c.timeloop import BACKWARD, FORWARD, THREADS


def source(plan: Plan, real: str) -> str:
    """The whole C file for ``real`` float or double."""
    values = {
        "cell": plan.name,
        "states": ", ".join(plan.states),
        "slots": ", ".join(plan.slots),
        "saved": len(plan.saved),
        "functions": functions(real),
        "call": assemble("call.h", {"LONGLAG_DOUBLE": int(real == "double")}),
        "n_states": len(plan.states),
        "n_slots": len(plan.slots),
        "n_units": len(plan.units),
        "n_middle": len(plan.intermediates),
        "n_products": plan.products,
        "n_terms": len(plan.terms),
        "n_saved": len(plan.saved),
    }
    stages = [emit.forward_core(plan), emit.backward_core(plan)]
    if plan.first is not None:
        stages += [emit.forward_first(plan), emit.backward_first(plan)]
    parts = [
        fill(HEADER, values),
        fill(COMMON, {}),
        "\n".join(stages),
        fill(
            FORWARD,
            {
                "panels": panels(plan, backward=False),
                "pack": lines(pack_lines(plan, backward=False), 4),
                "biases": lines(bias_lines(plan, gather=True), 4),
                "small_inputs": lines(small_input_lines(plan, gather=True), 8),
                "small_products": lines(small_products(plan), 12),
                "input_products": lines(input_products(plan), 12),
                "first_terms": lines([forward_term(plan, t) for t in plan.terms if t.stage == 1], 12),
                "second_stage": lines(forward_second_stage(plan), 12),
            },
        ),
        fill(
            BACKWARD,
            {
                "panels": panels(plan, backward=True),
                "pack": lines(pack_lines(plan, backward=True), 4),
                "second_stage": lines(backward_second_stage(plan), 12),
                "first_terms": lines([backward_term(plan, t) for t in plan.terms if t.stage == 1], 12),
                "weight_gradients": lines([weight_gradient(plan, t) for t in plan.terms], 8),
                "input_gradients": lines(input_gradients(plan), 8),
                "input_weight_gradients": lines(input_weight_gradients(plan), 8),
                "small_inputs": lines(small_input_lines(plan, gather=False), 12),
                "columns": lines(column_sums(plan), 8),
                "biases": lines(bias_lines(plan, gather=False), 8),
                "unit_gradients": lines(unit_gradients(plan), 4),
            },
        ),
        THREADS,
    ]
    return "\n".join(parts)


def fill(template: str, values: dict[str, object]) -> str:
    """Replace ``@name@`` by its value."""
    for name, value in values.items():
        template = template.replace(f"@{name}@", str(value))
    return template


def lines(found: list[str], indent: int) -> str:
    return f"\n{' ' * indent}".join(line for text in found for line in text.split("\n")) or ";"


def target(plan: Plan, term: Term) -> str:
    return ", ".join(plan.slots[term.slot : term.slot + term.count])


def panels(plan: Plan, backward: bool) -> str:
    """How many values the packed weights of all terms take."""
    sizes = (f"padded(c, H) * {t.count} * H" if backward else f"padded(c, {t.count} * H) * H" for t in plan.terms)
    return " + ".join(sizes) or "0"


def pack_lines(plan: Plan, backward: bool) -> list[str]:
    """Pack U' of every term, or U (`backward`), one behind the other."""
    result = []
    for k, term in enumerate(plan.terms):
        block = f"c->weight_hh[{term.product}] + {term.block} * H"
        wide = f"{term.count} * H"
        if backward:
            result.append(f"c->pack(H, {wide}, {block}, {term.blocks} * H, 1, weight[{k}]);")
            result.append(f"weight[{k + 1}] = weight[{k}] + padded(c, H) * {wide};")
        else:
            result.append(f"c->pack({wide}, H, {block}, 1, {term.blocks} * H, weight[{k}]);")
            result.append(f"weight[{k + 1}] = weight[{k}] + padded(c, {wide}) * H;")
    return result


def forward_term(plan: Plan, term: Term) -> str:
    if term.stage == 1:
        k = plan.states.index(term.source)
        source, apart = f"c->state[{k}] + t * c->stride[{k}] + b0 * c->lead[{k}]", f"c->lead[{k}]"
    else:
        source, apart = f"middle + {plan.intermediates.index(term.source)} * nb * H", "H"
    return (
        f"/* {target(plan, term)} += U {term.source} */\n"
        f"c->multiply(nb, {term.count} * H, H, {source}, {apart},\n"
        f"        weight[{plan.terms.index(term)}], pre + {term.slot} * H, W);"
    )


def forward_second_stage(plan: Plan) -> list[str]:
    if plan.first is None:
        return []
    rows = (
        "const real *before[N_STATES];\n"
        "real *row[N_MIDDLE];\n"
        "for (int s = 0; s < N_STATES; s++) before[s] = c->state[s] + t * c->stride[s] + b0 * c->lead[s];\n"
        "for (int m = 0; m < N_MIDDLE; m++) row[m] = middle + m * nb * H;\n"
        "for (long b = 0; b < nb; b++) {\n"
        "    forward_first(H, pre + b * W, before, row, keep + b * kept_apart, c->unit);\n"
        "    for (int s = 0; s < N_STATES; s++) before[s] += c->lead[s];\n"
        "    for (int m = 0; m < N_MIDDLE; m++) row[m] += H;\n"
        "}"
    )
    return [rows, *(forward_term(plan, t) for t in plan.terms if t.stage == 2)]


def backward_term(plan: Plan, term: Term) -> str:
    if term.stage == 1:
        result = f"c->grad_state[{plan.states.index(term.source)}] + b0 * H"
    else:
        result = f"grad_middle + {plan.intermediates.index(term.source)} * nb * H"
    return (
        f"/* gradient of {term.source} += U' times those of {target(plan, term)} */\n"
        f"c->multiply(nb, H, {term.count} * H, dpre_t + {term.slot} * H, W,\n"
        f"        weight[{plan.terms.index(term)}], {result}, H);"
    )


def backward_second_stage(plan: Plan) -> list[str]:
    if plan.first is None:
        return []
    rows = (
        "const real *before[N_STATES], *after[N_STATES], *by_middle[N_MIDDLE];\n"
        "real *carry[N_STATES];\n"
        "for (int s = 0; s < N_STATES; s++) {\n"
        "    before[s] = c->state[s] + t * c->stride[s] + b0 * c->lead[s];\n"
        "    after[s] = before[s] + c->stride[s];\n"
        "    carry[s] = c->grad_state[s] + b0 * H;\n"
        "}\n"
        "for (int m = 0; m < N_MIDDLE; m++) by_middle[m] = grad_middle + m * nb * H;\n"
        "for (long b = 0; b < nb; b++) {\n"
        "    if (!c->mask || c->mask[t * B + b0 + b])\n"
        "        backward_first(H, c->saved + (t * B + b0 + b) * N_SAVED * H, before, after, by_middle,\n"
        "                       dpre_t + b * W, carry, unit_block, c->unit);\n"
        "    for (int s = 0; s < N_STATES; s++) before[s] += c->lead[s], after[s] += c->lead[s], carry[s] += H;\n"
        "    for (int m = 0; m < N_MIDDLE; m++) by_middle[m] += H;\n"
        "}"
    )
    clear = "memset(grad_middle, 0, sizeof(real) * N_MIDDLE * nb * H);"
    return [clear, *(backward_term(plan, t) for t in plan.terms if t.stage == 2), rows]


def weight_gradient(plan: Plan, term: Term) -> str:
    if term.stage == 1:
        k = plan.states.index(term.source)
        source = f"rows_of(c->state[{k}] + t0 * c->stride[{k}], steps, B, b0, nb, H, c->lead[{k}], packed)"
        apart = f"nb == B ? c->lead[{k}] : H"
    else:
        source, apart = f"middle + {plan.intermediates.index(term.source)} * K * nb * H", "H"
    return (
        f"if (c->grad_weight_hh[{term.product}]) /* dU of {target(plan, term)} by {term.source} */\n"
        f"    c->outer(steps * nb, {term.count} * H, H, dpre + {term.slot} * H, W,\n"
        f"            {source}, {apart},\n"
        f"            c->grad_weight_hh[{term.product}] + slice * c->grad_stride + {term.block} * H,\n"
        f"            {term.blocks} * H);"
    )


def input_products(plan: Plan) -> list[str]:
    return [
        f"product(c, steps * nb, {run.count} * H, I, x, I, c->weight_ih + {run.row} * H * I, I, "
        f"block + {run.slot} * H, W);"
        for run in plan.inputs
    ]


def input_gradients(plan: Plan) -> list[str]:
    return [
        f"product_transposed(c, steps * nb, {run.count} * H, I, dpre + {run.slot} * H, W, "
        f"c->weight_ih + {run.row} * H * I, I, grad_x, I);"
        for run in plan.inputs
    ]


def input_weight_gradients(plan: Plan) -> list[str]:
    return [
        f"c->outer(steps * nb, {run.count} * H, I, dpre + {run.slot} * H, W, x, I,\n"
        f"        c->grad_weight_ih + slice * c->grad_stride + {run.row} * H * I, I);"
        for run in plan.inputs
    ]


def bias_lines(plan: Plan, gather: bool) -> list[str]:
    """Copy the packed biases into the row of all slots (`gather`), or add that row's gradients to the packed ones."""
    result = []
    for name, group in (("bias", plan.biases), ("bias_hh", plan.recurrent_biases)):
        for run in group:
            span = f"k < {run.count} * H"
            if gather:
                result.append(
                    f"if (c->{name}) for (long k = 0; {span}; k++) "
                    f"row[{run.slot} * H + k] = c->{name}[{run.row} * H + k];"
                )
            else:
                result.append(
                    f"if (c->grad_{name}) for (long k = 0; {span}; k++)\n"
                    f"    c->grad_{name}[slice * c->grad_stride + {run.row} * H + k] "
                    f"+= columns[{run.slot} * H + k];"
                )
    return result


def small_input_lines(plan: Plan, gather: bool) -> list[str]:
    """The columns of ``weight_ih`` as rows of all slots (`gather`), or their gradients back."""
    result = []
    for run in plan.inputs:
        loop = f"for (long k = 0; k < {run.count} * H; k++)"
        if gather:
            result.append(f"{loop} row[(i + 1) * W + {run.slot} * H + k] = c->weight_ih[({run.row} * H + k) * I + i];")
        else:
            result.append(
                f"{loop}\n    c->grad_weight_ih[slice * c->grad_stride + ({run.row} * H + k) * I + i] "
                f"+= columns[(i + 1) * W + {run.slot} * H + k];"
            )
    return result


def without_input(plan: Plan) -> list[tuple[int, int]]:
    """Slots without an input product, as (first, count)."""
    covered = {run.slot + k for run in plan.inputs for k in range(run.count)}
    return [(slot, 1) for slot in range(len(plan.slots)) if slot not in covered]


def small_products(plan: Plan) -> list[str]:
    found = [
        f"project_row(I, pre + {r.slot} * H, row + {r.slot} * H, x + r * I, W, {r.count} * H);" for r in plan.inputs
    ]
    found += [
        f"memcpy(pre + {slot} * H, row + {slot} * H, sizeof(real) * (size_t)({count} * H));"
        for slot, count in without_input(plan)
    ]
    return found


def column_sums(plan: Plan) -> list[str]:
    """Sums over the rows of a block: of the gradients of biases, and of those times each of few inputs."""
    runs = [("small ? I : 0", r.slot, r.count) for r in plan.inputs]
    runs += [("0", slot, count) for slot, count in without_input(plan)]
    return [
        f"sum_columns({inputs}, steps * nb, columns + {slot} * H, dpre + {slot} * H, x, I, W, {count} * H);"
        for inputs, slot, count in runs
    ]


def unit_gradients(plan: Plan) -> list[str]:
    return [
        f"if (c->grad_unit[{k}]) for (long j = 0; j < H; j++) "
        f"c->grad_unit[{k}][slice * c->grad_stride + j] += unit_total[{k} * H + j]; /* {name} */"
        for k, name in enumerate(plan.units)
    ]
