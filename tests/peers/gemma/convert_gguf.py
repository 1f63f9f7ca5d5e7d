"""Turns a GGUF file into a Hugging Face folder in fp32: convert_gguf.py FILE FOLDER."""
import pathlib
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer


def main():
    source = pathlib.Path(sys.argv[1])
    folder = pathlib.Path(sys.argv[2])
    where = dict(pretrained_model_name_or_path=str(source.parent), gguf_file=source.name)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
    config = AutoConfig.from_pretrained(**where)
    quantised = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    # What was read from GGUF refuses to be saved: its weights go into a model that was not.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantised.state_dict())
    model.save_pretrained(folder)


if __name__ == "__main__":
    main()
