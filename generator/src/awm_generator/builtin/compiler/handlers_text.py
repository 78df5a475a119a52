"""The handlers of environment.py, a function per tool."""

from awm_generator.builtin import language
from awm_generator.builtin.compiler import describing, interface, layout, operations, python_text, tables_text, worlds
from awm_generator.builtin.compiler.worlds import Tool, World


def handler(world: World, tool: Tool) -> str:
    """A tool's decorated function."""
    made = {
        "me": _me, "list": _list, "get": _get, "create": _create, "update": _update, "delete": _delete,
        "summary": _summary, "action": _action, "bulk": _bulk,
    }[tool.kind]  # fmt: skip
    return f"{_decorator(world, tool)}\n{made(world, tool)}"


def shared_action(world: World, tool: Tool) -> str:
    """The steps of an action that two tools offer."""
    names = python_text.Names(world, tool.entity, tool.entity, stored=True)
    steps = layout.block(_action_steps(world, tool, names))
    return f"def apply_{tool.name}(session: Session, {tool.entity}: {worlds.class_name(tool.entity)}) -> None:\n{steps}"


def shown(world: World, entity: str, name: str) -> str:
    """The function that computes a shown value."""
    names = python_text.Names(world, entity, "row", stored=True)
    value = python_text.expression(world.entities[entity].shows[name], names)
    return f"def {name}_of(session: Session, row: {worlds.class_name(entity)}) -> int:\n    return {value}"


def owner_check(world: World, entity: str) -> str:
    """The function that finds a row of the signed-in user."""
    label, table = worlds.label(world, entity), worlds.class_name(entity)
    path = ".".join(world.owner_path(entity))
    return (
        f"def own_{entity}(session: Session, key: int) -> {table}:\n"
        f'    """The signed-in {worlds.label(world, world.user)}\'s row; another\'s is not shown to exist."""\n'
        f'    row = existing(session, {table}, key, "{label}")\n'
        f"    if row.{path}_id != SIGNED_IN_{world.user.upper()}_ID:\n"
        f'        raise refuse(404, f"You have no {label} with id {{key}}.")\n'
        f"    return row"
    )


def _decorator(world: World, tool: Tool) -> str:
    status = ["status_code=201"] if tool.kind == "create" else []
    parts = [
        layout.quoted(tool.path),
        f"operation_id={layout.quoted(tool.name)}",
        f"tags=[{layout.quoted(worlds.plural(world, tool.entity))}]",
        *status,
        f"summary={layout.quoted(describing.summary(world, tool))}",
        layout.long_text("description", describing.description(world, tool)),
    ]
    lines = "".join(f"    {part},\n" for part in parts)
    return f"@app.{tool.method.lower()}(\n{lines})"


def _signature(world: World, tool: Tool, reply: str) -> str:
    required, optional = ["session: Database"], []
    for param in interface.params(world, tool):
        if param.location == "body":
            continue
        kind = "Path" if param.location == "path" else "Query"
        parts = [*tables_text.bounds(param), f"description={layout.quoted(param.about)}"]
        typed = f"{param.name}: Annotated[{tables_text.annotation(param)}, {kind}({', '.join(parts)})]"
        if param.required:
            required.append(typed)
        else:
            optional.append(f"{typed} = {param.default}")
    if tables_text.body(world, tool):
        required.append(f"request: {tables_text.request_name(tool)}")
    return layout.call(f"def {tool.name}(", [*required, *optional], f") -> {reply}:")


def _found(world: World, entity: str, value: str) -> str:
    if world.owner_path(entity):
        return f"own_{entity}(session, {value})"
    return f'existing(session, {worlds.class_name(entity)}, {value}, "{worlds.label(world, entity)}")'


def _viewed(world: World, entity: str, row: str) -> str:
    session = "session, " if world.entities[entity].shows else ""
    return f"{entity}_view({session}{row})"


def _me(world: World, tool: Tool) -> str:
    body = f"return {_viewed(world, world.user, 'signed_in(session)')}"
    return f"{_signature(world, tool, worlds.class_name(world.user) + 'View')}\n    {body}"


def _get(world: World, tool: Tool) -> str:
    row = _found(world, tool.entity, f"{tool.entity}_id")
    view = f"{worlds.class_name(tool.entity)}View"
    return f"{_signature(world, tool, view)}\n    return {_viewed(world, tool.entity, row)}"


def _mine(world: World, entity: str) -> str:
    """The condition that a row is the signed-in user's."""
    path = world.owner_path(entity)
    at, table = entity, worlds.class_name(entity)
    if not path:
        return ""
    text, tail = "", ""
    for name in path[:-1]:
        text += f"{table}.{name}.has("
        tail += ")"
        at = str(world.entities[at].fields[name].to)
        table = worlds.class_name(at)
    return f"{text}{table}.{path[-1]}_id == SIGNED_IN_{world.user.upper()}_ID{tail}"


def _list(world: World, tool: Tool) -> str:
    spec, table = world.entities[tool.entity], worlds.class_name(tool.entity)
    mine = _mine(world, tool.entity)
    lines = [f"query = select({table}){f'.where({mine})' if mine else ''}"]
    for param in interface.params(world, tool):
        lines += _filter(world, tool.entity, param)
    lines.append(f"direction = desc if order == {layout.quoted('desc')} else asc")
    columns = [
        f"{layout.quoted(name)}: {table}.{worlds.column(name, spec.fields[name]) if name in spec.fields else name}"
        for name in interface.sorts(spec)
    ]
    lines.append(layout.call("columns = {", columns, "}"))
    lines.append(f"ordered = query.order_by(direction(columns[sort]), {table}.id)")
    span = "offset(offset).limit(limit)" if world.style.offset else "offset((page - 1) * page_size).limit(page_size)"
    lines.append(f"rows = session.scalars(ordered.{span})")
    items = f"{world.style.items}=[{_viewed(world, tool.entity, 'row')} for row in rows]"
    lines.append(layout.call(f"return {table}Page(", ["total=matching(session, query)", items]))
    return f"{_signature(world, tool, table + 'Page')}\n{layout.block(lines)}"


def _filter(world: World, entity: str, param: interface.Param) -> list[str]:
    spec, table = world.entities[entity], worlds.class_name(entity)
    if param.name == "q":
        columns = [f"{table}.{name}.icontains(q, autoescape=True)" for name in interface.searched(spec)]
        condition = columns[0] if len(columns) == 1 else f"or_({', '.join(columns)})"
        return ["if q is not None:", f"    query = query.where({condition})"]
    if not param.field:
        return []
    column = (
        f"{table}.{worlds.column(param.field, spec.fields[param.field]) if param.field in spec.fields else param.field}"
    )
    lines = [f"if {param.name} is not None:"]
    if param.type == "id":
        lines.append(f"    {_found(world, param.entity, param.name)}")
    operator, value = "==", param.name
    if param.name.startswith("min_") or param.name.endswith("_from"):
        operator = ">="
    elif param.name.startswith("max_") or param.name.endswith("_to"):
        operator = "<="
    if param.type == "date":
        moment = spec.fields[param.field].type != "date"
        value = f'f"{{{param.name}}}T23:59:59Z"' if moment and operator == "<=" else f"{param.name}.isoformat()"
    if param.type == "flag":
        return [*lines, f"    query = query.where({column}.is_({value}))"]
    return [*lines, f"    query = query.where({column} {operator} {value})"]


def _summary(world: World, tool: Tool) -> str:
    spec, table = world.entities[tool.entity], worlds.class_name(tool.entity)
    groups = interface.groups(world.entities, tool.entity)
    columns, joins = [], []
    for name, kind in groups.items():
        if kind == "column":
            columns.append(f"{layout.quoted(name)}: {table}.{name}")
            continue
        target = str(spec.fields[name].to)
        columns.append(
            f"{layout.quoted(name)}: {worlds.class_name(target)}.{worlds.title_field(world.entities[target])}"
        )
        joins += [f"if group_by == {layout.quoted(name)}:", f"    query = query.join({table}.{name})"]
    sums = [f"func.sum({table}.{name})" for name in interface.sums(world, tool.entity)]
    mine = _mine(world, tool.entity)
    lines = [layout.call("columns = {", columns, "}"), "column = columns[group_by]"]
    lines.append(layout.call("query = select(", ["column", f"func.count({table}.id)", *sums]))
    lines.append(f"query = query.select_from({table})")
    if mine:
        lines.append(f"query = query.where({mine})")
    lines += joins
    for param in interface.params(world, tool)[1:]:
        lines += _filter(world, tool.entity, param)
    names = ["group", "count", *(f"total_{name}" for name in interface.sums(world, tool.entity))]
    lines.append("rows = session.execute(query.group_by(column).order_by(column))")
    given = ", ".join(f"{name}={name}" for name in names)
    lines.append(f"groups = [{table}Group({given}) for {', '.join(names)} in rows]")
    lines.append(f"return {table}Summary({world.style.items}=groups)")
    return f"{_signature(world, tool, table + 'Summary')}\n{layout.block(lines)}"


def _value(param: interface.Param, source: str) -> str:
    """An argument as the row holds it."""
    return {"date": f"{source}.isoformat()", "moment": f"as_utc({source})"}.get(param.type, source)


def _optional(param: interface.Param, source: str) -> str:
    value = _value(param, source)
    return value if param.required or value == source else f"{value} if {source} else None"


def _inputs(world: World, params: tuple[interface.Param, ...]) -> list[str]:
    """Lines that find the rows which a body refers to."""
    lines = []
    for param in params:
        if param.type == "id":
            found = _found(world, param.entity, f"request.{param.name}")
            lines.append(f"{param.field} = {found}" + ("" if param.required else f" if request.{param.name} else None"))
    return lines


def _create(world: World, tool: Tool) -> str:
    spec, entity, table = world.entities[tool.entity], tool.entity, worlds.class_name(tool.entity)
    params = tables_text.body(world, tool)
    lines = _inputs(world, params)
    values = dict.fromkeys(operations.owned(world, entity), "signed_in(session)")
    for param in params:
        values[param.field] = param.field if param.type == "id" else _optional(param, f"request.{param.name}")
    for name, field in spec.fields.items():
        if field.type == "stamp" and not field.optional:
            values[name] = "stamp()"
    if spec.states:
        values[spec.states.field] = layout.quoted(spec.states.start)
    lines.append(layout.call(f"{entity} = {table}(", [f"{name}={value}" for name, value in values.items()]))
    names = python_text.Names(world, entity, entity)
    begun = {name: field.begins for name, field in spec.fields.items() if field.begins}
    lines += [f"{entity}.{name} = {python_text.expression(text, names)}" for name, text in begun.items()]
    lines += _computed(spec.fields, names)
    lines += _distinct(world, entity, stored=False)
    lines += _rules((*(spec.create.rules if spec.create else ()), *spec.rules), names)
    lines.append(f"session.add({entity})")
    lines += [python_text.statement(each, names) for each in (spec.create.do if spec.create else ())]
    lines += ["save(session)", f"return {_viewed(world, entity, entity)}"]
    return f"{_signature(world, tool, table + 'View')}\n{layout.block(lines)}"


def _update(world: World, tool: Tool) -> str:
    spec, entity, table = world.entities[tool.entity], tool.entity, worlds.class_name(tool.entity)
    params = tables_text.body(world, tool)
    found = "signed_in(session)" if spec.user else _found(world, entity, f"{entity}_id")
    lines = [f"{entity} = {found}"]
    if spec.states and spec.states.final:
        final = f"[{', '.join(map(layout.quoted, spec.states.final))}]"
        lines.append(f"if {entity}.{spec.states.field} in {final}:")
        label = worlds.label(world, entity)
        shown = f"{{{entity}.{spec.states.field}.replace('_', ' ')}}"
        lines.append(f'    raise refuse(409, f"This {label} is {shown} and can no longer be changed.")')
    for param in params:
        lines.append(f"if request.{param.name} is not None:")
        source = f"request.{param.name}"
        value = _found(world, param.entity, source) if param.type == "id" else _value(param, source)
        lines.append(f"    {entity}.{param.field} = {value}")
    names = python_text.Names(world, entity, entity, stored=True)
    lines += _computed(operations.recomputed(spec), names)
    lines += _distinct(world, entity, stored=True)
    lines += _rules(spec.rules, names)
    lines += ["save(session)", f"return {_viewed(world, entity, entity)}"]
    return f"{_signature(world, tool, table + 'View')}\n{layout.block(lines)}"


def _delete(world: World, tool: Tool) -> str:
    entity, table = tool.entity, worlds.class_name(tool.entity)
    label = worlds.label(world, entity)
    lines = [f"{entity} = {_found(world, entity, f'{entity}_id')}"]
    for child, name in world.children(entity):
        other = worlds.class_name(child)
        lines.append(f"if count(session, {other}, {other}.{name}_id == {entity}.id):")
        lines.append(f'    raise refuse(409, "This {label} still has {worlds.plural(world, child)}.")')
    lines += [
        f"removed = {_viewed(world, entity, entity)}",
        f"session.delete({entity})",
        "save(session)",
        "return removed",
    ]
    return f"{_signature(world, tool, table + 'View')}\n{layout.block(lines)}"


def _action(world: World, tool: Tool) -> str:
    entity, table = tool.entity, worlds.class_name(tool.entity)
    params = tables_text.body(world, tool)
    lines = [f"{entity} = {_found(world, entity, f'{entity}_id')}", *_inputs(world, params)]
    for param in params:
        if param.type != "id":
            lines.append(f"{param.field} = {_optional(param, f'request.{param.name}')}")
    if bulk := world.tool("bulk", entity, tool.action):
        lines.append(f"apply_{bulk.name}(session, {entity})")
    else:
        inputs = tuple(param.field for param in params)
        lines += _action_steps(world, tool, python_text.Names(world, entity, entity, inputs, stored=True))
    lines += ["save(session)", f"return {_viewed(world, entity, entity)}"]
    return f"{_signature(world, tool, table + 'View')}\n{layout.block(lines)}"


def _bulk(world: World, tool: Tool) -> str:
    entity, table = tool.entity, worlds.class_name(tool.entity)
    lines = [
        f"rows = [{_found(world, entity, 'key')} for key in dict.fromkeys(request.ids)]",
        "for row in rows:",
        f"    apply_{tool.name}(session, row)",
        "    session.flush()",
        "save(session)",
        f"return {table}List({world.style.items}=[{_viewed(world, entity, 'row')} for row in rows])",
    ]
    return f"{_signature(world, tool, table + 'List')}\n{layout.block(lines)}"


def _action_steps(world: World, tool: Tool, names: python_text.Names) -> list[str]:
    spec = world.entities[tool.entity]
    action, label, row = spec.actions[tool.action], worlds.label(world, tool.entity), names.row
    lines = []
    if spec.states and action.start:
        state = f"{row}.{spec.states.field}"
        allowed = " or ".join(each.replace("_", " ") for each in action.start)
        test = f"!= {layout.quoted(action.start[0])}"
        if len(action.start) > 1:
            test = f"not in [{', '.join(map(layout.quoted, action.start))}]"
        shown = f"{{{state}.replace('_', ' ')}}"
        lines.append(f"if {state} {test}:")
        said, wanted = f"This {label} is {shown};", f" it has to be {allowed}."
        between = f'"{layout.BREAK}"' if len(said + wanted) > python_text.LONG else ""
        lines.append(f'    raise refuse(409, f"{said}{between}{wanted}")')
    lines += _rules(action.rules, names)
    lines += [python_text.statement(each, names) for each in action.do]
    if spec.states and action.to:
        lines.append(f"{row}.{spec.states.field} = {layout.quoted(action.to)}")
    return lines


def _rules(rules: tuple[language.Rule, ...], names: python_text.Names) -> list[str]:
    lines = []
    for rule in rules:
        test = python_text.negated(rule.require, names)
        lines.append(f"if {test}:")
        lines.append(layout.indented(layout.call("raise refuse(", ["409", python_text.message(rule.otherwise, names)])))
    return lines


def _computed(fields: dict[str, language.Field], names: python_text.Names) -> list[str]:
    return [
        f"{names.row}.{name} = {python_text.expression(field.set, names)}"
        for name, field in fields.items()
        if field.set
    ]


def _distinct(world: World, entity: str, *, stored: bool) -> list[str]:
    spec, table = world.entities[entity], worlds.class_name(entity)
    lines = []
    for fields in operations.keys(spec):
        parts, present = [], []
        for name in fields:
            reference = spec.fields[name].type == "ref"
            value = f"{entity}.{name}.id" if reference else f"{entity}.{name}"
            parts.append(f"{table}.{worlds.column(name, spec.fields[name])} == {value}")
            if spec.fields[name].optional:
                present.append(f"{entity}.{name} is not None and ")
        if stored:
            parts.append(f"{table}.id != {entity}.id")
        lines.append(f"if {''.join(present)}count(session, {', '.join([table, *parts])}):")
        lines.append(f"    raise refuse(409, {layout.quoted(operations.taken(world, entity, fields))})")
    return lines
