"""How much memory a training run will take, by part, before anything is loaded.

The model is built on torch's meta device, where tensors have shapes and no content, and the method is really applied to
it. One batch is then taken forward and backward on fake tensors, by the same code that the run uses, while every
tensor that comes and goes is counted (`rehearsal`). What is no tensor of a step follows from formulas, each with its
source (`stored`, `optimizer_state`). `parts` adds up.
"""
