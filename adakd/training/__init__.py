"""Training students and teachers with transformers, accelerate and peft."""
