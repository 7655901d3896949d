"""What an evaluation is made of: candidates, questions, answers, losses, scores, judge and benchmarks."""
