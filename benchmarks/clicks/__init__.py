"""What a click gives: masks after so many, seconds beside a painter, speed and memory."""
