"""The adapter as it is, with its tokenizer, so that peft can put it on its base anywhere."""

from __future__ import annotations

import shutil

from studio.runs.atomic import write_json
from studio.runs.export_subject import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_config
from studio.tasks.exporting.companions import copy_companions
from studio.tasks.exporting.positions import is_stretched
from studio.tasks.exporting.work import Work, Written
from studio.tasks.failures import TaskError


def write(work: Work) -> Written:
    """Write the adapter into the draft; its base is named as the user names it, not by a path of this machine.

    Raises TaskError when there is more than one adapter, OSError.
    """
    if len(work.subject.adapters) != 1:
        raise TaskError(
            "adapter",
            f"There are {len(work.subject.adapters)} adapters in order, and only one can be exported alone.",
            "Choose format.type=merged.",
        )
    work.reporter.phase("copying", work.subject.adapters[0].name)
    source = work.subject.adapters[0]
    shutil.copyfile(source / ADAPTER_WEIGHTS, work.draft / ADAPTER_WEIGHTS)
    settings = {**adapter_config(source), "base_model_name_or_path": work.subject.base}
    write_json(work.draft / ADAPTER_CONFIG, settings, durable=False)
    copy_companions(work.subject, work.draft)
    (work.draft / "generation_config.json").unlink(missing_ok=True)
    if is_stretched(work.subject):
        work.reporter.notice(
            "The adapter was trained with stretched positions (model.rope_scaling): they must be set in the config of "
            "the base model wherever it is used. A merged export has them inside."
        )
    request = {"folder": str(work.subject.base_folder), "adapters": [str(work.draft)]}
    return Written(exact=True, request=request, facts={"rank": settings.get("r")})
