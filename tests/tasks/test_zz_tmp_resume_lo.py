import pytest
from tests.tasks.test_optimizers import CPU, settings
from studio.config.optimizers import OPTIMIZERS
from tests.tasks.conftest import *
@pytest.mark.parametrize("name", CPU)
def test_resume(train, name):
    c = settings(name, max_steps=6, lr_scheduler_type="linear")
    whole = train("whole", c)
    train("broken", c, stop_at=3)
    second = train("broken", c, resume_from="checkpoint-3")
    assert second.losses == pytest.approx(whole.losses, abs=1e-4), (name, second.losses, whole.losses)
