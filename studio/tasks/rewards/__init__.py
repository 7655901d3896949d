"""What answers are worth: pure functions of an answer and its row, and how a stage's choice of them becomes points.

- `attempt.py`: an answer with all that a reward may look at;
- `results.py`, `shape.py`, `wording.py`: the functions of the library, registered in `judging.FUNCTIONS`; their names,
  sentences and parameters are in `studio/config/rewards.py`, which a test holds against the signatures;
- `own_file.py`: a function of the user's own, file.py:function;
- `judging.py`: everything that a stage chose, asked together and checked.

A function of the library takes one `Attempt` and its arguments by name, and returns points, or None where it has
nothing to say (a row without an answer to compare with).
"""
