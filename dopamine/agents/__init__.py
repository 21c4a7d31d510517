from dopamine import backend

backend.load_keras()
