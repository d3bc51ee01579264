"""NanoVLA: a vision-language-action model small enough to train and to run on a laptop.

    words ──▶ instruction tokens ─┐
    things or pictures ──▶ tokens ├─▶ transformer ─▶ token learner ─▶ head ─▶ H actions
    arm ──▶ state token ──────────┘   (the backbone)

The parts and what they stand for in the papers: `perception` and `language` are the encoders,
`backbone` the VLM (it takes LoRA adapters), `heads` OpenVLA's action tokens or iRe-VLA's token
learner with an MLP. `model` puts them together, `checkpoint` writes and reads them, `policy` lets
the harness ask them.
"""
