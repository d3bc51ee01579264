"""The gate's decision as JUnit XML, which every CI server draws.

One suite for each baseline run. Its first case is the run: failed is REGRESSION, error is NOT
COMPARABLE, skipped is UNDERPOWERED. Then a case for each task, failed where that task alone is
worse; a task that passes was not shown to be worse, which with few episodes says little.
"""

import re
from xml.etree import ElementTree as ET

from vlabench.gate.report import Entry, Gate
from vlabench.gate.sentences import headline, sentence, task_change
from vlabench.metrics.regression import Status

_NO_XML = re.compile("[^\\t\\n\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_MOST = 25
"""Lost episodes listed for each run; `vlabench gate --json` has all."""
_ELEMENTS = {
    Status.REGRESSION: "failure",
    Status.NOT_COMPARABLE: "error",
    Status.UNDERPOWERED: "skipped",
}


def junit(gate: Gate) -> str:
    """Return the XML document. Bytes depend on the gate alone: no times, no host names."""
    root = ET.Element("testsuites", name="vlabench gate")
    for entry in gate.entries:
        root.append(_suite(entry))
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ET.SubElement(root[0], "system-out").text = _clean(headline(gate))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(entry: Entry) -> ET.Element:
    suite = ET.Element("testsuite", name=_clean(entry.name))
    judgement = entry.judgement
    run = _case(suite, entry, "the run")
    if kind := _ELEMENTS.get(judgement.status):
        said = " ".join(sentence(entry).splitlines())
        _tell(run, kind, judgement.status, f"{said}\n{_lost(entry)}")
    evidence = judgement.comparison.evidence
    worse = {task.name for task in judgement.worse}
    for task in evidence.tasks if evidence else ():
        case = _case(suite, entry, task.name)
        if task.name in worse:
            _tell(case, "failure", Status.REGRESSION, task_change(task))
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(kind) is not None for case in cases)))
    return suite


def _case(suite: ET.Element, entry: Entry, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=_clean(entry.name), name=_clean(name))


def _tell(case: ET.Element, kind: str, status: Status, text: str) -> None:
    element = ET.SubElement(case, kind, type=status, message=_clean(text.partition("\n")[0]))
    element.text = _clean(text)


def _lost(entry: Entry) -> str:
    lost = [f"lost: {one.key} {one.where}".rstrip() for one in entry.changed if one.lost]
    more = [f"and {len(lost) - _MOST} more"] if len(lost) > _MOST else []
    return "\n".join([*lost[:_MOST], *more])


def _clean(text: str) -> str:
    """Leave out what XML 1.0 cannot hold (section 2.2): control characters and half pairs."""
    return _NO_XML.sub("", text)
