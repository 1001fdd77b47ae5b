"""How the tiny networks were trained: ``python -m ntt_plugin.demo.train`` (``make train-tiny``)."""
